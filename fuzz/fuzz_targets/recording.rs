//! Any bytes as a recording, of either form: an error, or events that do not depend on the pieces it comes in.
#![no_main]

#[path = "../../rust/core/tests/recording_world/mod.rs"]
mod recording_world;

use axebpf_core::recording::Form;
use recording_world::{replay, tracepoints};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&how, file)) = data.split_first() else { return };
    let form = if how & 1 == 0 { Form::Text } else { Form::Csv { event: (how & 2 != 0).then(|| "vmm:boot".to_owned()) } };
    let sizes = vec![usize::from(how >> 2) + 1; 64];
    let whole = replay(file, &form, &[]);
    assert_eq!(replay(file, &form, &sizes), whole);
    match whole {
        Ok((events, report)) => {
            let tracepoints = tracepoints();
            for (which, stamp, record) in &events {
                assert_eq!(record.len(), tracepoints[*which].record_size());
                assert!(stamp.cpu < 4);
            }
            assert!(report.events + report.skipped <= report.lines);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
