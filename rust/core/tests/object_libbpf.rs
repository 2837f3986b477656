//! libbpf is asked what it would hand to the kernel; ours must be the same: instructions, maps, source lines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod object_fixtures;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use axebpf_core::isa::Insn;
use axebpf_core::object::Object;
use object_fixtures::{clangs, compile_to, scratch, sources, version};

/// Sources that libbpf takes too.
const SOURCES: [&str; 5] = ["globals.c", "maps.c", "map_in_map.c", "subprograms.c", "callbacks.c"];
/// `BPF_F_MMAPABLE`, which libbpf adds to data sections: its own way to write initial values.
const MMAPABLE: u32 = 1024;

/// Builds the program that asks libbpf, or says why not.
fn oracle() -> Option<&'static Path> {
    static ORACLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = ORACLE.get_or_init(|| {
        let output = scratch("libbpf");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/object_fixtures/libbpf.c");
        let result = Command::new("cc").args(["-O1", "-o"]).arg(&output).arg(source).arg("-lbpf").output();
        match result {
            Ok(result) if result.status.success() => Some(output),
            Ok(result) => {
                eprintln!("skipped: no libbpf to build against: {}", String::from_utf8_lossy(&result.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: no C compiler: {error}");
                None
            }
        }
    });
    built.as_deref()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).unwrap()).collect()
}

fn insns(bytes: &[u8]) -> Vec<Insn> {
    bytes.as_chunks().0.iter().map(|&bytes| Insn::from_bytes(bytes)).collect()
}

/// libbpf shows `.rodata` as `object.rodata`.
fn plain_name(name: &str) -> &str {
    match name.find('.') {
        Some(dot) => &name[dot..],
        None => name,
    }
}

fn compare(object: &Object, answer: &str, what: &str) {
    let mut descriptors = HashMap::new();
    let (mut maps, mut programs, mut lines) = (0, 0, 0);
    for line in answer.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "section" => {
                let program = object.program(words[1]).unwrap_or_else(|| panic!("{what}: no program {}", words[1]));
                assert_eq!(program.section, words[2], "{what}");
            }
            "map" => {
                maps += 1;
                let map = object.map(plain_name(words[1])).unwrap_or_else(|| panic!("{what}: no map {}", words[1]));
                let flags: u32 = words[6].parse().unwrap();
                let ours = [map.kind, map.key_size, map.value_size, map.max_entries].map(|n| n.to_string());
                assert_eq!(ours, words[2..6], "{what}: map {}", map.name);
                let expected = if map.initial.is_some() { flags & !MMAPABLE } else { flags };
                assert_eq!(map.flags, expected, "{what}: map {}", map.name);
                assert_eq!(map.extra.to_string(), words[7], "{what}: map {}", map.name);
            }
            "initial" => {
                let map = object.map(plain_name(words[1])).unwrap();
                assert_eq!(map.initial, Some(unhex(words[2])), "{what}: map {}", map.name);
            }
            "descriptor" => {
                descriptors.insert(words[1].parse::<i32>().unwrap(), plain_name(words[2]).to_owned());
            }
            "lines" => {
                lines += 1;
                let program = object.program(words[1]).unwrap().program.as_ref().unwrap();
                let ours: Vec<_> =
                    program.lines.iter().map(|l| format!("{}:{}:{}", l.insn, l.line, l.column)).collect();
                assert_eq!(ours, words[2..], "{what}: lines of {}", program.name);
            }
            "program" => {
                programs += 1;
                let ours = object.program(words[1]).unwrap().program.as_ref().unwrap();
                let mut expected = insns(&unhex(words[2]));
                for insn in expected.iter_mut().filter(|insn| insn.code == 0x18 && matches!(insn.src, 1 | 2)) {
                    let name = &descriptors[&insn.imm];
                    insn.imm = ours.maps.iter().position(|map| map == name).unwrap() as i32;
                }
                assert_eq!(ours.insns, expected, "{what}: program {}", ours.name);
            }
            other => panic!("{what}: the oracle says {other}"),
        }
    }
    assert_eq!((maps, programs, lines), (object.maps.len(), object.programs.len(), programs), "{what}");
}

fn check(source: &str) {
    let Some(oracle) = oracle() else { return };
    for clang in clangs() {
        for cpu in ["v1", "v2", "v3", "v4"] {
            if cpu == "v4" && version(clang) < 18 {
                continue; // clang does not know it
            }
            let output = scratch("libbpf.o");
            compile_to(clang, &sources().join(source), &[&format!("-mcpu={cpu}")], &output);
            let answer = Command::new(oracle).arg(&output).output().unwrap();
            let what = format!("{source} by {clang} for {cpu}");
            let complaint = String::from_utf8_lossy(&answer.stderr);
            assert!(answer.status.success(), "{what}: libbpf refuses it: {complaint}");
            let object = Object::parse(&std::fs::read(&output).unwrap(), source).unwrap();
            compare(&object, &String::from_utf8(answer.stdout).unwrap(), &what);
        }
    }
}

#[test]
fn programs_and_maps_are_those_of_libbpf() {
    for source in SOURCES {
        check(source);
    }
}
