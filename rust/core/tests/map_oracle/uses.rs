//! What programs and bpf(2) may do with a map of each kind: the table of kinds, what Linux said, and what it says now.
//!
//! `tests/map_uses.tsv` has a row for each helper that is given a map, each command that not every kind has and each
//! type of program, a column for each kind, and what Linux 6.18 said: `yes` or `no`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axebpf_core::errno::Errno;
use axebpf_core::helper::{self, ArgKind, Helper, Implementation, ReturnKind};
use axebpf_core::isa::Insn;
use axebpf_core::map::{
    BPF_F_NO_PREALLOC, Command, Entries, Keys, MapKind, MapSpec, create, create_with, delete_batch,
    lookup_and_delete_batch, lookup_batch, update_batch,
};
use axebpf_core::program::ProgramType;

use crate::engine_support::assemble;
use crate::kernel::{self, KernelMap, Program, RAW_TRACEPOINT};
use crate::map_support::spec;
use crate::sequences::with_descriptors;

const RECORDED: &str = include_str!("../map_uses.tsv");

/// Types of program that Linux has, with its numbers.
const TYPES: [(ProgramType, u32); 7] = [
    (ProgramType::SocketFilter, 1),
    (ProgramType::Kprobe, 2),
    (ProgramType::Tracepoint, 5),
    (ProgramType::Xdp, 6),
    (ProgramType::PerfEvent, 7),
    (ProgramType::RawTracepoint, RAW_TRACEPOINT),
    (ProgramType::Syscall, kernel::SYSCALL),
];

/// By row and kind whether it may be.
type Answers = BTreeMap<(String, &'static str), bool>;

fn recorded() -> Answers {
    let mut lines = RECORDED.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let kinds: Vec<_> =
        lines.next().unwrap()[1..].iter().map(|name| MapKind::from_name(name).unwrap().name()).collect();
    let cell = |text: &str| match text {
        "yes" => true,
        "no" => false,
        other => panic!("{other}"),
    };
    lines
        .flat_map(|line| {
            assert_eq!(line.len(), kinds.len() + 1, "{line:?}");
            let row = line[0].to_owned();
            kinds.iter().zip(&line[1..]).map(|(kind, text)| ((row.clone(), *kind), cell(text))).collect::<Vec<_>>()
        })
        .collect()
}

/// Helpers that are given a map.
fn helpers() -> impl Iterator<Item = (&'static Helper, &'static Implementation)> {
    let offered = helper::all().iter().filter_map(|row| Some((row, row.implementation.as_ref()?)));
    offered.filter(|(_, row)| row.args.contains(&ArgKind::MapPtr))
}

fn in_the_table() -> Answers {
    let mut answers = Answers::new();
    for kind in MapKind::offered() {
        for (helper, row) in helpers() {
            let map_use =
                row.map_use.unwrap_or_else(|| panic!("{} does not say what it does with its map", helper.name));
            answers.insert((helper.name.to_owned(), kind.name()), kind.takes(map_use));
        }
        for (command, name) in Command::ALL {
            answers.insert((name.to_owned(), kind.name()), kind.has(command));
        }
        for (program_type, _) in TYPES {
            let may = kind.rules().is_some_and(|rules| rules.may_be_used_by(program_type));
            answers.insert((program_type.name().to_owned(), kind.name()), may);
        }
    }
    answers
}

/// Rows and kinds of which the two do not say the same.
fn difference(a: &Answers, b: &Answers) -> Vec<(String, &'static str)> {
    a.keys().chain(b.keys()).filter(|which| a.get(which) != b.get(which)).cloned().collect()
}

#[test]
fn the_table_says_what_linux_said() {
    assert_eq!(difference(&in_the_table(), &recorded()), Vec::new());
}

/// A map of a kind, as small as can be.
fn small(kind: MapKind) -> MapSpec {
    let rules = kind.rules().unwrap();
    let flags = if rules.keys == Keys::Prefix { BPF_F_NO_PREALLOC } else { 0 };
    let key = match rules.keys {
        Keys::Index | Keys::Bytes => 4,
        Keys::Prefix => 8,
        Keys::None => 0,
    };
    match kind {
        MapKind::RingBuf => spec(kind, 0, 0, 4096, 0),
        _ => spec(kind, key, if rules.by_number { 4 } else { 8 }, 4, flags),
    }
}

/// A program that calls a helper with a map, which is all that can be wrong with it.
fn calling(helper: &Helper, row: &Implementation) -> Vec<Insn> {
    let mut text = String::new();
    for at in (-64..=-8).step_by(8) {
        writeln!(text, "*(u64 *)(r10 {at}) = 0").unwrap();
    }
    for (register, argument) in (1..).zip(row.args) {
        let line = match argument {
            ArgKind::Context => continue,
            ArgKind::MapPtr => format!("r{register} = map[0]"),
            ArgKind::Anything | ArgKind::StackOrNull => format!("r{register} = 0"),
            ArgKind::Size | ArgKind::SizeOrZero | ArgKind::AllocSize => format!("r{register} = 8"),
            ArgKind::Callback => format!("r{register} = subprog[each]"),
            ArgKind::NewRingDynptr => format!("r{register} = r10\nr{register} += -80"),
            _ => format!("r{register} = r10\nr{register} += -64"),
        };
        writeln!(text, "{line}").unwrap();
    }
    writeln!(text, "call {}", helper.name).unwrap();
    if row.result == ReturnKind::RingRecordOrNull {
        text += "if r0 == 0 goto +3\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_discard\n";
    }
    if row.args.contains(&ArgKind::NewRingDynptr) {
        text += "r1 = r10\nr1 += -80\nr2 = 0\ncall bpf_ringbuf_discard_dynptr\n";
    }
    text += "r0 = 0\nexit\n";
    if row.args.contains(&ArgKind::Callback) {
        text += "each:\nr0 = 0\nexit\n";
    }
    assemble(&text)
}

const ENOTSUPP: i32 = 524;

fn has(result: Result<(), i32>) -> bool {
    result != Err(ENOTSUPP)
}

fn asked_now() -> Answers {
    let mut answers = Answers::new();
    let inner = KernelMap::create(&small(MapKind::Array), 1).unwrap();
    for kind in MapKind::offered() {
        let spec = small(kind);
        let inner = if kind.is_of_maps() { inner.fd() } else { 0 };
        // Each program has one of its own: a program array is for those of the type of its first.
        let map = || KernelMap::create_with(&spec, kernel::cpus(), inner).unwrap();
        for (helper, row) in helpers() {
            let loaded = Program::load_as(RAW_TRACEPOINT, &with_descriptors(&calling(helper, row), &[map().fd()]));
            if let Err((errno, log)) = &loaded {
                // Keys of no bytes are what it meets first where there are none.
                let why = [
                    "cannot pass map_type",
                    "expected prog array map for tail call",
                    "callback function not allowed",
                    "invalid zero-sized read",
                ];
                let known = why.iter().any(|why| log.contains(why));
                assert!(
                    known && [libc::EINVAL, libc::EACCES, ENOTSUPP].contains(errno),
                    "{} of {kind:?}: {errno} {log}",
                    helper.name
                );
            }
            answers.insert((helper.name.to_owned(), kind.name()), loaded.is_ok());
        }
        let (key, value) = (vec![0; spec.key_size as usize], vec![0; 8 * kernel::cpus() as usize]);
        for (command, name) in Command::ALL {
            let answer = match command {
                Command::LookupAndDelete => has(map().lookup_and_delete(&key, 0).map(drop)),
                Command::LookupBatch => has(map().walk(None, 1, false, 0).0),
                Command::LookupAndDeleteBatch => has(map().walk(None, 1, true, 0).0),
                Command::UpdateBatch => has(map().update_batch(&[(&key, &value)], 0).map_err(|(_, errno)| errno)),
                Command::DeleteBatch => has(map().delete_batch(&[&key], 0).map_err(|(_, errno)| errno)),
            };
            answers.insert((name.to_owned(), kind.name()), answer);
        }
        for (program_type, number) in TYPES {
            let loaded =
                Program::load_as(number, &with_descriptors(&assemble("r1 = map[0]\nr0 = 0\nexit"), &[map().fd()]));
            if let Err((errno, log)) = &loaded {
                assert!(*errno == libc::EINVAL && log.contains("Sleepable programs can only use"), "{errno} {log}");
            }
            answers.insert((program_type.name().to_owned(), kind.name()), loaded.is_ok());
        }
    }
    answers
}

#[test]
fn linux_still_says_so() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    assert_eq!(difference(&asked_now(), &recorded()), Vec::new());
}

#[test]
fn maps_have_the_commands_of_the_table() {
    let inner = create(small(MapKind::Array), 1).unwrap();
    for kind in MapKind::offered() {
        let spec = small(kind);
        let ours = create_with(spec.clone(), 1, kind.is_of_maps().then_some(&*inner)).unwrap();
        let (key, value) = (vec![0; spec.key_size as usize], vec![0; 8]);
        let only = |result: Result<(), (u32, Errno)>| result.map_err(|(_, errno)| errno);
        for (command, name) in Command::ALL {
            let mut out = Entries::default();
            let answer = match command {
                Command::LookupAndDelete => ours.lookup_and_delete_user(&key, 0, &mut out.values),
                Command::LookupBatch => lookup_batch(&*ours, None, 1, 0, &mut out),
                Command::LookupAndDeleteBatch => lookup_and_delete_batch(&*ours, None, 1, 0, &mut out),
                Command::UpdateBatch => only(update_batch(&*ours, &[(&key, &value)], 0)),
                Command::DeleteBatch => only(delete_batch(&*ours, &[&key], 0)),
            };
            assert_eq!(has(answer.map_err(|errno| errno.0)), kind.has(command), "{name} of {kind:?}");
        }
    }
}
