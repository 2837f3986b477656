//! Blobs against the `ksym` crate, both ways: its reader on ours, and its generator's before ours.
//!
//! Where `ksym` is known to be wrong it is not asked: names that are empty or sort before all others, addresses below
//! the first symbol, and which alias an address within a symbol has (it gives the last).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;
mod symbol_support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use axebpf_core::symbol::{BlobStyle, Range, SymbolTable};
use ksym::{KSYM_NAME_LEN, KallsymsMapped};
use random::Random;
use symbol_support::{range, text};

/// A blob where `ksym` wants it: its arrays are read in place.
struct Aligned(Vec<u64>, usize);

impl Aligned {
    fn new(blob: &[u8]) -> Aligned {
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        };
        Aligned(blob.chunks(8).map(word).collect(), blob.len())
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the words hold at least as many bytes, and any byte is a u8.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.1) }
    }
}

/// Lines of symbols in the order of addresses, some with one address or one name; names share beginnings.
fn random_text(random: &mut Random, symbols: u64) -> String {
    let mut address = 0xffff_8000_0020_0000;
    let mut lines = String::new();
    for n in 0..symbols {
        address += if random.once_in(4) { 0 } else { 16 * (1 + random.below(40)) };
        let kind = random.pick(b"TtDdRrBbWV?");
        let head = random.pick(&["_ZN7axvisor3vmm4vcpu", "arm_vcpu", "é", "x", "_ZN4core3fmt", "vm"]);
        let tail = if random.once_in(3) { random.below(9) } else { n };
        let long = "y".repeat(if random.once_in(50) { 3000 } else { random.below(30) as usize });
        lines += &format!("{address:016x} {} {head}{tail}{long}\n", char::from(kind));
    }
    lines
}

#[test]
fn ksym_finds_in_our_blobs_what_we_find() {
    let mut random = Random(1);
    for round in 0..60 {
        let symbols = 1 + random.below(400);
        let table = SymbolTable::from_text(random_text(&mut random, symbols).as_bytes(), Range::ALL).unwrap();
        let (first, last) = (table.get(0).unwrap().address, table.get(table.len() - 1).unwrap().address);
        // Some texts end before the last symbol.
        let etext = if round % 3 == 0 { first + (last - first) / 2 + 1 } else { last + 0x100 };
        let blob = table.to_blob(BlobStyle::Ksym06).unwrap();
        let ours = SymbolTable::from_blob(&blob, range(first, etext)).unwrap();
        let aligned = Aligned::new(&blob);
        let theirs = KallsymsMapped::from_blob(aligned.bytes(), first, etext).unwrap();

        assert_eq!(theirs.dump_all_symbols(), text(&ours.to_text().unwrap()));
        let mut buffer = Box::new([0; KSYM_NAME_LEN]);
        for _ in 0..500 {
            let address = match random.once_in(2) {
                true => ours.get(random.below(ours.len() as u64) as usize).unwrap().address,
                false => first - 8 + random.below(last - first + 0x200),
            };
            let found = theirs.lookup_address(address, &mut buffer);
            let expected = ours.lookup_address(address);
            let place = |name: &str, size, offset, kind| (name.to_owned(), size, offset, kind);
            match (found, expected) {
                (Some((name, size, offset, kind)), Some(expected)) => {
                    let symbol = expected.symbol;
                    let aliases = ours.iter().filter(|other| other.address == symbol.address).count();
                    let ours = place(&text(symbol.name), symbol.size, expected.offset, char::from(symbol.kind));
                    if offset == 0 || aliases == 1 {
                        assert_eq!(place(name, size, offset, kind), ours);
                    } else {
                        assert_eq!((size, offset), (symbol.size, expected.offset));
                    }
                }
                (found, expected) => assert_eq!(found.is_some(), expected.is_some(), "{address:#x}"),
            }
        }
        for symbol in ours.iter() {
            let name = str::from_utf8(symbol.name).unwrap();
            assert_eq!(theirs.lookup_name(name), ours.lookup_name(symbol.name), "{name}");
            let (from, to) = theirs.lookup_names(name, true).unwrap();
            let all: Vec<u64> = (from..=to).map(|index| theirs.lookup_name_by_idx(index).unwrap()).collect();
            assert!(all.iter().copied().eq(ours.named(symbol.name).map(|symbol| symbol.address)));
        }
    }
}

/// The generator of the version of `ksym` that these tests are built with. It is a program of that crate, and not part
/// of its library: so it is compiled here, once, from the sources that cargo has.
fn generator() -> Result<PathBuf, String> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gen_ksym");
    let run = |command: &mut Command| {
        let ran = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        if ran.status.success() { Ok(ran.stdout) } else { Err(format!("{command:?}: {}", text(&ran.stderr))) }
    };
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let arguments = ["metadata", "--format-version", "1", "--offline", "--manifest-path", manifest];
    let metadata = run(Command::new(cargo).args(arguments))?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).map_err(|error| error.to_string())?;
    let package = metadata["packages"].as_array().into_iter().flatten().find(|package| package["name"] == "ksym");
    let package = package.ok_or("cargo knows no package ksym")?;
    let program = out.join(package["version"].as_str().unwrap_or_default());
    if program.exists() {
        return Ok(program);
    }
    let sources = Path::new(package["manifest_path"].as_str().unwrap_or_default()).with_file_name("src");
    // Tests that run beside this one may do the same: what is in its place is whole.
    let own = out.join(std::process::id().to_string());
    fs::create_dir_all(&own).map_err(|error| error.to_string())?;
    let rustc = || {
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", "2024", "-O", "--cap-lints", "allow"]).current_dir(&own);
        rustc
    };
    run(rustc().args(["--crate-name", "ksym", "--crate-type", "rlib"]).arg(sources.join("lib.rs")))?;
    run(rustc().args(["--extern", "ksym=libksym.rlib", "-o", "gen"]).arg(sources.join("bin/gen_ksym.rs")))?;
    fs::rename(own.join("gen"), &program).map_err(|error| error.to_string())?;
    let _ = fs::remove_dir_all(&own);
    Ok(program)
}

fn generate(generator: &Path, text: &[u8]) -> Vec<u8> {
    let mut child = Command::new(generator).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(text).unwrap());
        let ran = child.wait_with_output().unwrap();
        assert!(ran.status.success());
        ran.stdout
    })
}

/// Reads a blob of the generator, of either style, and compares it with the text that it was made from.
fn compare(blob: &[u8], from: &[u8]) {
    let expected = SymbolTable::from_text(from, Range::ALL).unwrap();
    for data in [blob, &blob[8..]] {
        let table = SymbolTable::from_blob(data, Range::ALL).unwrap();
        assert!(table.iter().eq(expected.iter()));
        assert!(table.iter().all(|symbol| table.lookup_name(symbol.name) == expected.lookup_name(symbol.name)));
    }
}

#[test]
fn we_read_what_the_generator_writes_its_tokens_too() {
    let generator = match generator() {
        Ok(generator) => generator,
        Err(reason) => return eprintln!("skipped: the generator of ksym cannot be built: {reason}"),
    };
    let mut random = Random(2);
    for _ in 0..12 {
        let symbols = random.below(1200);
        // It panics where a token would end within a letter.
        let lines = random_text(&mut random, symbols).replace('é', "e");
        compare(&generate(&generator, lines.as_bytes()), lines.as_bytes());
    }

    // So many names with so many beginnings that all 512 tokens are used; and then two of the generator's own names are
    // lost to ksym, because it takes token 511 for token 1.
    let lines: String =
        (0..2100).map(|n| format!("{:x} t {:016}function_{}\n", 0x1000 + 16 * n, n / 4 * 7919, n % 4)).collect();
    let blob = generate(&generator, lines.as_bytes());
    let token_511 = blob.windows(4).filter(|bytes| *bytes == [0xff, 1, 0xff, 0xff]).count();
    assert!(token_511 > 0, "no name with token 511");
    compare(&blob, lines.as_bytes());
    let aligned = Aligned::new(&blob);
    let theirs = KallsymsMapped::from_blob(aligned.bytes(), 0, u64::MAX).unwrap().dump_all_symbols();
    assert_eq!(theirs.lines().filter(|line| line.ends_with(' ')).count(), token_511);

    // The symbols of this machine's kernel, with the modules that ksym takes for a part of the name.
    match fs::read("/proc/kallsyms") {
        Ok(kallsyms) if kallsyms.is_ascii() => compare(&generate(&generator, &kallsyms), &kallsyms),
        _ => eprintln!("skipped: /proc/kallsyms cannot be read"),
    }
}
