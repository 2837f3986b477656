//! Symbols of ELF files: `nm` is asked about files of several machines, of 32 and 64 bits and both byte orders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;
mod symbol_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use axebpf_core::symbol::{Place, Range, SymbolError, SymbolReason, SymbolTable};
use random::Random;
use symbol_support::{at, check, text};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/symbol_support/symbols.c");

/// Leaves the test, and says why, where an oracle is absent.
macro_rules! oracle {
    ($found:expr) => {
        match $found {
            Ok(found) => found,
            Err(reason) => return eprintln!("skipped: {reason}"),
        }
    };
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let ran = Command::new(program).args(arguments).output().map_err(|error| format!("no {program}: {error}"))?;
    match ran.status.success() {
        true => Ok(text(&ran.stdout)),
        false => Err(format!("{program}: {}", text(&ran.stderr))),
    }
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn clang() -> Result<String, String> {
    let names = std::env::var("CLANG").into_iter().chain(["clang", "clang-19", "clang-14"].map(str::to_owned));
    let found = names.into_iter().find(|name| run(name, &["--version"]).is_ok());
    found.ok_or_else(|| "no clang (install clang, or name it in CLANG)".to_owned())
}

/// Name, address, letter, size: what `nm` lists with an address, but for thread-local variables.
fn nm(path: &Path, options: &[&str]) -> Result<Vec<(String, u64, char, u64)>, String> {
    let path = path.to_str().unwrap();
    let listed = run("nm", &[options, &["-f", "sysv", path]].concat())?;
    let row = |line: &str| {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, address, letter, kind, size, ..] = parts[..] else { return None };
        let hex = |text: &str| u64::from_str_radix(text, 16);
        // The address of a common symbol is its alignment.
        let (address, letter) = (hex(address).ok()?, letter.chars().next()?);
        let wanted = kind != "TLS" && letter != 'C';
        wanted.then(|| (name.to_owned(), address, letter, hex(size).unwrap_or(0)))
    };
    let mut rows: Vec<_> = listed.lines().filter_map(row).collect();
    rows.sort();
    Ok(rows)
}

fn ours(path: &Path) -> Vec<(String, u64, char, u64)> {
    let table = SymbolTable::from_elf(&fs::read(path).unwrap(), Range::ALL).unwrap();
    check(&table);
    // A symbol without a size of its own is said to reach up to the next, of which nm knows nothing.
    let mut rows: Vec<_> = table.iter().map(|s| (text(s.name), s.address, char::from(s.kind), s.size)).collect();
    rows.sort();
    rows
}

fn compare(path: &Path, expected: &[(String, u64, char, u64)]) {
    let found = ours(path);
    let names = |rows: &[(String, u64, char, u64)]| rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(expected), "{}", path.display());
    for (found, expected) in found.iter().zip(expected) {
        let size = if expected.3 == 0 { 0 } else { found.3 };
        assert_eq!((&found.0, found.1, found.2, size), (&expected.0, expected.1, expected.2, expected.3));
    }
    assert!(!expected.is_empty());
}

#[test]
fn objects_of_other_machines_have_the_symbols_that_nm_lists() {
    let clang = oracle!(clang());
    // 64 and 32 bits, little and big end first, with assemblers that mark code and data and without.
    let targets = ["x86_64", "i686", "aarch64", "aarch64_be", "riscv64", "riscv32", "mips", "powerpc64"];
    for target in targets {
        let out = scratch(&format!("symbols-{target}.o"));
        let target = format!("--target={target}-unknown-linux-gnu");
        let gnu = if target.contains("x86_64") { "-DGNU" } else { "-UGNU" };
        oracle!(run(&clang, &[&target, gnu, "-O1", "-ffunction-sections", "-c", SOURCE, "-o", out.to_str().unwrap()]));
        let mut expected = oracle!(nm(&out, &[]));
        // This nm does not know that machine's marks.
        expected.retain(|row| !row.0.starts_with('$') && !row.0.starts_with(".L"));
        compare(&out, &expected);
        if gnu == "-DGNU" {
            let letters: std::collections::BTreeSet<char> = expected.iter().map(|row| row.2).collect();
            assert_eq!(letters.into_iter().collect::<String>(), "ABDNRTVWabdinrtu");
        }
    }
}

#[test]
fn thumb_code_begins_at_even_addresses() {
    let clang = oracle!(clang());
    let (source, out) = (scratch("thumb.s"), scratch("thumb.o"));
    let function = |name: &str| format!(".thumb_func\n.type {name}, %function\n{name}: nop\n.size {name}, 2\n");
    fs::write(&source, format!(".syntax unified\n.thumb\n{}{}", function("f"), function("g"))).unwrap();
    let flags = ["--target=thumbv7m-none-eabi", "-c", source.to_str().unwrap(), "-o", out.to_str().unwrap()];
    oracle!(run(&clang, &flags));
    let table = SymbolTable::from_elf(&fs::read(&out).unwrap(), Range::ALL).unwrap();
    let found: Vec<(String, u64, u64)> = table.iter().map(|s| (text(s.name), s.address, s.size)).collect();
    assert_eq!(found, [("f".to_owned(), 0, 2), ("g".to_owned(), 2, 2)]);
}

#[test]
fn this_test_itself_has_the_symbols_that_nm_lists() {
    let path = std::env::current_exe().unwrap();
    let expected = oracle!(nm(&path, &[]));
    compare(&path, &expected);
}

#[test]
fn a_stripped_library_has_its_dynamic_symbols() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let libc = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libc.so.6"));
    let Some(libc) = libc.map(Path::new) else { return eprintln!("skipped: no libc.so.6 in /proc/self/maps") };
    if nm(libc, &[]).is_ok_and(|rows| !rows.is_empty()) {
        return eprintln!("skipped: {} is not stripped", libc.display());
    }
    let expected = oracle!(nm(libc, &["-D", "--without-symbol-versions"]));
    compare(libc, &expected);
}

#[test]
fn a_function_ends_where_the_file_says() {
    let clang = oracle!(clang());
    let (source, out) = (scratch("sizes.s"), scratch("sizes.o"));
    let code = ".globl f, g, label\n.type f, @function\n.type g, @function\nlabel:\nf: .skip 5\n.size f, 5\n\
                .balign 16\ng: .skip 3\n.size g, 3\nbehind: .skip 8\n";
    fs::write(&source, code).unwrap();
    let flags = ["--target=x86_64-linux-gnu", "-c", source.to_str().unwrap(), "-o", out.to_str().unwrap()];
    oracle!(run(&clang, &flags));
    let table = SymbolTable::from_elf(&fs::read(&out).unwrap(), Range::ALL).unwrap();
    // The function before the label that has its address.
    assert_eq!(at(&table, 0), Some(("f".to_owned(), 0, 5)));
    assert_eq!(at(&table, 4), Some(("f".to_owned(), 4, 5)));
    assert_eq!(at(&table, 5), None);
    assert_eq!(at(&table, 18), Some(("g".to_owned(), 2, 3)));
    assert_eq!(at(&table, 25), Some(("behind".to_owned(), 6, 0)));
    assert_eq!(table.lookup_name(b"label"), Some(0));
}

// Every way to refuse

fn refused(data: &[u8]) -> SymbolError {
    SymbolTable::from_elf(data, Range::ALL).map(|table| table.len()).unwrap_err()
}

/// The smallest ELF file: a header of 64 bits and nothing else.
fn header() -> Vec<u8> {
    let mut data = vec![0; 64];
    data[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    data[16] = 2;
    data[52] = 64;
    data
}

#[test]
fn what_is_no_elf_file() {
    for (data, found) in [(&b""[..], ""), (b"\x7fEL", "\\x7fEL"), (b"1000 T text", "1000 T t")] {
        let reason = SymbolReason::NotElf { found: found.to_owned() };
        assert_eq!(refused(data), SymbolError { place: Some(Place::Offset(0)), reason });
    }
}

#[test]
fn a_class_that_does_not_exist() {
    for data in [&b"\x7fELF"[..], b"\x7fELF\x03"] {
        let error = refused(data);
        assert_eq!(error.place, Some(Place::Offset(4)));
        assert!(matches!(error.reason, SymbolReason::Malformed { .. }), "{error}");
    }
}

#[test]
fn a_file_without_symbols() {
    assert_eq!(refused(&header()), SymbolError { place: None, reason: SymbolReason::Stripped });
}

#[test]
fn tables_outside_the_file() {
    let mut data = header();
    // Section headers far behind the end.
    data[40..48].copy_from_slice(&0x1000_u64.to_le_bytes());
    (data[58], data[60]) = (64, 3);
    assert!(matches!(refused(&data).reason, SymbolReason::Malformed { .. }));
}

#[test]
fn a_damaged_file_is_an_error_or_a_table() {
    let good =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/axebpf/examples/exits.bpf.o")).unwrap();
    check(&SymbolTable::from_elf(&good, Range::ALL).unwrap());
    let mut random = Random(5);
    let sections = u64::from_le_bytes(good[40..48].try_into().unwrap());
    let mut refusals = 0;
    for _ in 0..20_000 {
        let mut data = good.clone();
        for _ in 0..=random.below(3) {
            // In the header, in the table of sections, anywhere.
            let (from, len) = random.pick(&[(0, 64), (sections, data.len() as u64 - sections), (0, data.len() as u64)]);
            data[(from + random.below(len)) as usize] = random.pick(&[0, 1, 0x7f, 0x80, 0xff, random.0 as u8]);
        }
        if random.once_in(8) {
            data.truncate(random.below(good.len() as u64) as usize);
        }
        match SymbolTable::from_elf(&data, Range::ALL) {
            Ok(table) => check(&table),
            Err(error) => refusals += u32::from(!error.to_string().is_empty()),
        }
    }
    assert!(refusals > 100);
}
