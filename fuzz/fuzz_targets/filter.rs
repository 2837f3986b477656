//! Any text as a filter: an error at a character of it, or a filter whose negation answers the opposite.
#![no_main]

use std::sync::Arc;

use axebpf_core::event::{FieldSpec, Filter, Stamp, TracepointSpec};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let fields = [("a", "u8"), ("b", "i16"), ("c", "u32"), ("d", "i64"), ("e", "u64"), ("on", "bool"), ("t", "[char; 15]")];
    let fields = fields.map(|(name, ty)| FieldSpec::new(name, ty.parse().unwrap())).to_vec();
    let spec = Arc::new(TracepointSpec::new("fuzz:filter", 1, fields).unwrap());
    let Some((record, text)) = data.split_at_checked(spec.record_size()) else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let filter = match Filter::compile(&spec, text, 4) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(text.is_char_boundary(error.position));
            assert!(error.to_string().len() < 400);
            return;
        }
    };
    let record = spec.record(record).unwrap();
    let stamp = Stamp { cpu: u32::from(data[0] & 3), comm: *b"axvisor\0\0\0\0\0\0\0\0\0", ..Stamp::default() };
    let passes = filter.matches(&record, &stamp);
    let again = |text: &str| Filter::compile(&spec, text, 4).unwrap().matches(&record, &stamp);
    assert_eq!(again(&format!("({text})")), passes);
    assert_eq!(again(&format!("!({text})")), !passes);
    assert_eq!(again(&format!("c < 0 || {text}")), passes);
    assert_eq!(filter.select_records(record.bytes(), Some(&[stamp.cpu]), &stamp), [passes]);
});
