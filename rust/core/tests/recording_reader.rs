//! The reader: what a recording becomes does not depend on its pieces, and every refusal has its reason and line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod recording_world;

use axebpf_core::event::EventError;
use axebpf_core::recording::{Form, MAX_CAPTURES, MAX_MARKS, Reader, RecordingError, Report, Rule, Target};
use proptest::prelude::*;
use recording_world::{place, replay, rules, tracepoints};

const TEXT: &[u8] = b"# tracer: nop
   qemu-40 [001] ..... 1.000000: entry: vcpu 7
   qemu-40 [002] ..... 1.000005: exit: reason io info 8
CPU:1 [LOST 3 EVENTS]
   qemu-41 [001] ..... 1.000006: exit: reason what
axvisor-0  [000] ..... 1.000007: boot: vm_id=3 duration_ns=20
nonsense
axvisor-0  [000] ..... 1.000001: boot: vm_id=4 duration_ns=21
axvisor-0  [000] ..... 1.000008: boot: vm_id=5 dura";

#[test]
fn a_recording_becomes_encoded_events() {
    let (events, report) = replay(TEXT, &Form::Text, &[]).unwrap();
    let fields = |of: usize| {
        let (which, stamp, record) = &events[of];
        let spec = &tracepoints()[*which];
        let record = spec.record(record).unwrap();
        let values: Vec<i128> = spec.fields().iter().map(|field| record.int(field).unwrap()).collect();
        (*which, stamp.cpu, stamp.pid, record.pid(), values)
    };
    assert_eq!(fields(0), (1, 2, 40, 40, vec![1, 7, 5, 5000]));
    assert_eq!(fields(1), (1, 1, 41, 41, vec![1, 0, -1, 0]));
    assert_eq!(fields(2), (0, 0, 0, 0, vec![3, 20]));
    assert_eq!((events.len(), events[2].1.comm), (4, *b"axvisor\0\0\0\0\0\0\0\0\0"));
    let Report { lines, events, skipped, lost, backwards, unpaired, first_ns, last_ns, cpus, problems, more_problems } =
        report;
    assert_eq!((lines, events, skipped, lost, backwards, unpaired), (9, 5, 2, 3, 1, 1));
    assert_eq!((first_ns, last_ns, cpus, more_problems), (Some(1_000_000_000), Some(1_000_001_000), 3, 0));
    assert_eq!(problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 7, 8, 9]);
}

#[test]
fn events_can_be_taken_a_few_at_a_time() {
    let (whole, _) = replay(TEXT, &Form::Text, &[]).unwrap();
    for most in 1..=whole.len() + 1 {
        let mut reader = Reader::new(tracepoints(), &rules(), Form::Text, 4).unwrap();
        reader.survey(TEXT, true).unwrap();
        reader.begin();
        let mut taken = Vec::new();
        for (piece, last) in [(TEXT, false), (b"".as_slice(), true)] {
            reader.feed(piece, last).unwrap();
            loop {
                let events = reader.take_events(most);
                assert!(events.len() <= most);
                if events.is_empty() {
                    break;
                }
                taken.extend(events.iter().map(|(which, stamp, record)| (which, *stamp, record.to_vec())));
            }
        }
        assert_eq!(taken, whole);
    }
    let mut reader = Reader::new(tracepoints(), &rules(), Form::Text, 4).unwrap();
    reader.survey(TEXT, true).unwrap();
    reader.begin();
    reader.feed(TEXT, false).unwrap();
    assert_eq!((reader.take_events(0).len(), reader.events().len()), (0, whole.len()));
}

const TABLE: &[u8] =
    b"event,time_ns,vm_id,vcpu_id,reason,duration_ns\nboot,1,2,,,3\n\"exit\",4,5,\"6\",-7,8\r\nboot,9,10,,,11";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn pieces_do_not_matter(sizes in proptest::collection::vec(0_usize..60, 0..30)) {
        prop_assert_eq!(replay(TEXT, &Form::Text, &sizes), replay(TEXT, &Form::Text, &[]));
        let form = Form::Csv { event: None };
        prop_assert_eq!(replay(TABLE, &form, &sizes), replay(TABLE, &form, &[]));
    }

    #[test]
    fn a_damaged_recording_is_read_or_refused(at in 0..TEXT.len(), byte: u8, table: bool) {
        let (file, form) = if table { (TABLE, Form::Csv { event: None }) } else { (TEXT, Form::Text) };
        let mut file = file.to_vec();
        let at = at % file.len();
        file[at] = byte;
        if let Err(error) = replay(&file, &form, &[]) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

/// What is wrong with these rules.
fn refused(change: impl FnOnce(&mut Vec<Rule>)) -> RecordingError {
    let mut rules = rules();
    change(&mut rules);
    Reader::new(tracepoints(), &rules, Form::Text, 1).unwrap_err()
}

fn target(rules: &mut [Rule]) -> &mut Target {
    rules[1].becomes.as_mut().unwrap()
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let error = refused(|rules| rules[0].texts[0] = "{a:s}{b}".to_owned());
    assert!(
        matches!(error, RecordingError::Template { event, text, .. } if event == "kvm:entry" && text == "{a:s}{b}")
    );
    let error = refused(|rules| target(rules).fields[2].1 = place("reasons"));
    assert!(matches!(error, RecordingError::NoCapture { nearest: Some(near), .. } if near == "reason"));
    let error = refused(|rules| {
        target(rules).fields.pop();
    });
    assert!(matches!(error, RecordingError::FieldSource { found: 0, .. }));
    let error = refused(|rules| {
        let again = target(rules).fields[0].clone();
        target(rules).fields.push(again);
    });
    assert!(matches!(error, RecordingError::FieldSource { found: 2, .. }));
    let error = refused(|rules| target(rules).tracepoint = "vmm:exits".to_owned());
    assert!(matches!(error, RecordingError::Target { error, .. } if matches!(*error, EventError::NotFound { .. })));
    let error = refused(|rules| target(rules).fields[0].0 = "vm".to_owned());
    assert!(matches!(error, RecordingError::Target { error, .. } if matches!(*error, EventError::UnknownField { .. })));
    let error =
        refused(|rules| rules.extend((0..MAX_MARKS).map(|n| Rule { sets: Some(n.to_string()), ..Rule::default() })));
    assert!(matches!(error, RecordingError::TooMany { what: "marks", found: 17, max: MAX_MARKS }));
    let error = refused(|rules| *rules = vec![Rule::default(); 70_000]);
    assert!(matches!(error, RecordingError::TooMany { what: "rules", found: 70_000, .. }));
    let error = refused(|rules| rules[0].texts = (0..=MAX_CAPTURES).map(|n| format!("{{a{n}}}")).collect());
    assert!(matches!(error, RecordingError::Template { why: "more than 16 places", .. }));
}

#[test]
fn recordings_that_cannot_be_are_refused_with_their_line() {
    let text = |file: &[u8]| replay(file, &Form::Text, &[]).unwrap_err();
    let error = text(b"PERFILE2");
    assert!(matches!(error, RecordingError::Binary { what: "a perf.data", .. }));
    assert_eq!(error.line(), None);
    assert_eq!((text(b"").line(), text(b"\n# x\nno\n").line()), (None, Some(3)));
    assert!(matches!(text(b"x\n"), RecordingError::NoEvents { lines: 1, line: 1, first: Some(first) } if first == "x"));
    // A survey takes every CPU; what comes from a pipe is not surveyed.
    let mut reader = Reader::new(tracepoints(), &[], Form::Text, 4).unwrap();
    reader.begin();
    let error = reader.feed(b"axvisor-0 [003] 1.0: e: \naxvisor-0 [004] 1.0: e: \n", true).unwrap_err();
    assert_eq!((error.line(), error), (Some(2), RecordingError::Cpu { line: 2, cpu: 4, cpus: 4 }));
}

#[test]
fn tables_that_do_not_fit_are_refused_with_their_line() {
    let table = |file: &str| replay(file.as_bytes(), &Form::Csv { event: None }, &[]).unwrap_err();
    let head = "event,time_ns,vm_id,duration_ns\n";
    let cases = [
        (table("event\n"), 1, "no column time_ns"),
        (table("time_ns\n"), 1, "no column event"),
        (table("event,time_ns,vmid\n"), 1, "did you mean vm_id?"),
        (table("event,time_ns,event\n"), 1, "two columns are called event"),
        (table("event,time_ns,vm_id\n\nboot,1,2\n"), 3, "no column duration_ns: a field of vmm:boot"),
        (table(&format!("{head}boot,1,2\n")), 2, "3 cells under 4 columns"),
        (table(&format!("{head}boot,1,2,3\nboot,x,2,3\n")), 3, "a time in nanoseconds"),
        (table(&format!("{head}boot,1,4294967296,3\n")), 2, "vm_id is u32"),
        (table(&format!("{head}boot,1,\"2\n2\",3\n")), 2, "a whole number"),
        (table(&format!("{head}boot,1,2,\"{}", "x\n".repeat(1 << 20))), 2, "a row of more than 1048576"),
    ];
    for (error, line, message) in cases {
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.line(), Some(line), "{error}");
    }
}
