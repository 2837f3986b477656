//! A small world for recordings: two tracepoints, two rules, and a reader that is fed in pieces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code)] // not every user needs all of it

use axebpf_core::event::{FieldSpec, FieldType, Role, Scalar, Stamp, TracepointSpec};
use axebpf_core::recording::{Bits, Form, Pick, Reader, RecordingError, Report, Rule, Source, Target};

pub fn tracepoints() -> Vec<TracepointSpec> {
    let field = |name: &str, scalar, role| FieldSpec { role, ..FieldSpec::new(name, FieldType::Scalar(scalar)) };
    let duration = || field("duration_ns", Scalar::U64, Role::Duration);
    vec![
        TracepointSpec::new("vmm:boot", 2, vec![field("vm_id", Scalar::U32, Role::None), duration()]).unwrap(),
        TracepointSpec::new(
            "vmm:exit",
            21,
            vec![
                field("vm_id", Scalar::U32, Role::None),
                field("vcpu_id", Scalar::U8, Role::None),
                field("reason", Scalar::I16, Role::None),
                duration(),
            ],
        )
        .unwrap(),
    ]
}

pub fn place(place: &str) -> Source {
    Source::Place { place: place.to_owned(), shift: 0 }
}

pub fn rules() -> Vec<Rule> {
    let table = vec![
        ("halt".to_owned(), Pick::Is(9)),
        ("io".to_owned(), Pick::Bits(Bits { place: "info".to_owned(), bits: vec![(3, 5)], other: 6 })),
    ];
    let reason = Source::Named { place: "reason".to_owned(), texts: table, numbers: vec![], other: Some(-1) };
    let fields = [
        ("vm_id", Source::Vm),
        ("vcpu_id", Source::Vcpu),
        ("reason", reason),
        ("duration_ns", Source::Since("entry".to_owned())),
    ];
    vec![
        Rule {
            event: "kvm:entry".to_owned(),
            texts: vec!["vcpu {vcpu}".to_owned()],
            sets: Some("entry".to_owned()),
            on_vcpu: true,
            ..Rule::default()
        },
        Rule {
            event: "kvm:exit".to_owned(),
            texts: vec!["reason {reason:s} info {info:x}".to_owned(), "reason {reason:s}".to_owned()],
            becomes: Some(Target {
                tracepoint: "vmm:exit".to_owned(),
                fields: fields.map(|(name, source)| (name.to_owned(), source)).to_vec(),
            }),
            clears: vec!["entry".to_owned()],
            on_vcpu: true,
            ..Rule::default()
        },
    ]
}

/// Every event: tracepoint, stamp, record; and the report.
pub type Replayed = (Vec<(usize, Stamp, Vec<u8>)>, Report);

pub fn replay(file: &[u8], form: &Form, sizes: &[usize]) -> Result<Replayed, RecordingError> {
    let mut reader = Reader::new(tracepoints(), &rules(), form.clone(), 4)?;
    reader.survey(file, false)?;
    reader.survey(b"", true)?;
    reader.begin();
    let (mut events, mut rest) = (Vec::new(), file);
    let mut keep = |reader: &Reader| {
        let found = reader.events().iter();
        events.extend(found.map(|(which, stamp, record)| (which, *stamp, record.to_vec())));
    };
    for &size in sizes {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        reader.feed(piece, false)?;
        keep(&reader);
        rest = behind;
    }
    reader.feed(rest, false)?;
    keep(&reader);
    reader.feed(b"", true)?;
    keep(&reader);
    Ok((events, reader.report().clone()))
}
