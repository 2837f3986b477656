//! Any bytes as an object: an error, or an object that keeps its promises.
#![no_main]

#[path = "../../rust/core/tests/object_fixtures/promises.rs"]
mod promises;

use axebpf_core::object::Object;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    match Object::parse(data, "fuzz.bpf.o") {
        Ok(object) => promises::check(&object),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
