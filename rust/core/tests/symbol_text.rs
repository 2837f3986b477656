//! Text of `nm`, `System.map` and `/proc/kallsyms`; and the search for a part of a name, which needs no form.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;
mod symbol_support;

use axebpf_core::symbol::{Place, Range, Symbol, SymbolError, SymbolReason, SymbolTable};
use random::Random;
use symbol_support::{at, check, names, range, text};

fn read(text: &[u8]) -> SymbolTable {
    SymbolTable::from_text(text, Range::ALL).unwrap()
}

/// A line and what it says: address, size, type, name, module.
type Case = (&'static [u8], (u64, u64, u8, &'static [u8], Option<&'static [u8]>));

#[test]
fn lines_that_are_symbols() {
    let cases: &[Case] = &[
        (b"ffffffff81000000 T _stext", (0xffff_ffff_8100_0000, 0, b'T', b"_stext", None)),
        (b"0x1000 t run", (0x1000, 0, b't', b"run", None)),
        (b"0X1000 t run", (0x1000, 0, b't', b"run", None)),
        (b"0 A zero", (0, 0, b'A', b"zero", None)),
        (b"  1000\tD  data \r", (0x1000, 0, b'D', b"data", None)),
        (b"1000 t f\t[kvm_intel]", (0x1000, 0, b't', b"f", Some(b"kvm_intel"))),
        (b"1000 t f [kvm-2]", (0x1000, 0, b't', b"f", Some(b"kvm-2"))),
        (b"1000 t [kvm]", (0x1000, 0, b't', b"[kvm]", None)),
        (b"1000 t f []", (0x1000, 0, b't', b"f []", None)),
        (b"1000 t operator new[]", (0x1000, 0, b't', b"operator new[]", None)),
        (b"1000 W core::fmt::write(a, b)", (0x1000, 0, b'W', b"core::fmt::write(a, b)", None)),
        (b"0000000000001000 0000000000000020 T sized", (0x1000, 0x20, b'T', b"sized", None)),
        (b"1000 T", (0x1000, 0, b'T', b"", None)),
        (b"1000 U kept", (0x1000, 0, b'U', b"kept", None)),
        (b"1000 ? odd", (0x1000, 0, b'?', b"odd", None)),
        (b"1000 T caf\xe9", (0x1000, 0, b'T', b"caf\xe9", None)),
    ];
    for &(line, (address, size, kind, name, module)) in cases {
        let table = read(line);
        let found: Vec<Symbol<'_>> = table.iter().collect();
        assert_eq!(found, [Symbol { name, module, address, size, kind }], "{}", line.escape_ascii());
        assert_eq!((table.skipped(), table.undefined()), (0, 0));
    }
}

#[test]
fn lines_that_are_none_are_passed_over_and_counted() {
    let malformed: &[&[u8]] = &[
        b"run",
        b"1000",
        b"wild T name",
        b"0x T name",
        b"11112222333344445 T name",
        b"1000 Tx name",
        b"1000 20 Tx name",
        b"1000 \x01 name",
        b"-1 T name",
        b"a.o:",
        b"\xff\xff\xff",
        b"U",
    ];
    let undefined: &[&[u8]] = &[b"                 U printf", b"                 w __gmon_start__", b"v x"];
    let blank: &[&[u8]] = &[b"", b"   ", b"# 1000 T comment", b"  # comment"];
    for (lines, counts) in [(malformed, [1, 0]), (undefined, [0, 1]), (blank, [0, 0])] {
        for line in lines {
            let table = read(&[b"1000 T good\n", *line, b"\n2000 T better"].concat());
            assert_eq!(names(&table), ["good", "better"]);
            assert_eq!([table.skipped(), table.undefined()], counts, "{}", line.escape_ascii());
        }
    }
}

#[test]
fn a_text_without_any_symbol_names_its_first_wrong_line() {
    let error = SymbolTable::from_text(b"# head\n\nthis is\nno table", Range::ALL).map(|_| ()).unwrap_err();
    let expected = SymbolReason::NoSymbols { found: "this is".to_owned() };
    assert_eq!(error, SymbolError { place: Some(Place::Line(3)), reason: expected });
    let long = SymbolTable::from_text(&[b'x'; 100_000], Range::ALL).map(|_| ()).unwrap_err();
    assert!(long.to_string().len() < 250);
    // No line is wrong here: there is nothing.
    for nothing in [&b""[..], b"\n\n", b"# head\n U printf\n"] {
        assert!(read(nothing).is_empty());
    }
}

#[test]
fn any_order_is_sorted_and_aliases_keep_theirs() {
    let table = read(b"30 T c\n10 T a\n20 T second\n10 T b\n20 T first\n");
    assert_eq!(names(&table), ["a", "b", "second", "first", "c"]);
    assert_eq!(at(&table, 0x25), Some(("second".to_owned(), 5, 0x10)));
    assert_eq!(table.lookup_name(b"c"), Some(0x30));
    check(&table);
}

#[test]
fn duplicates_of_a_name_are_all_kept_and_the_lowest_comes_first() {
    let table = read(b"30 t probe\n10 t probe\t[kvm]\n20 t probe\n20 t probe\n10 t other\n");
    assert_eq!(table.lookup_name(b"probe"), Some(0x10));
    assert_eq!(table.named(b"probe").map(|s| s.address).collect::<Vec<_>>(), [0x10, 0x20, 0x20, 0x30]);
    assert_eq!(table.named(b"probe [kvm]").count(), 0);
}

#[test]
fn a_given_size_ends_a_symbol() {
    let table = SymbolTable::from_text(b"10 08 T a\n20 00 T label\n20 04 T b\n30 T c\n", range(0, 0x40)).unwrap();
    assert_eq!(at(&table, 0x17), Some(("a".to_owned(), 7, 8)));
    assert_eq!(at(&table, 0x18), None);
    // The longest of one address comes first.
    assert_eq!(at(&table, 0x20), Some(("b".to_owned(), 0, 4)));
    assert_eq!(at(&table, 0x24), None);
    assert_eq!(at(&table, 0x3f), Some(("c".to_owned(), 0xf, 0x10)));
}

#[test]
fn without_an_end_the_last_symbol_has_none() {
    let table = read(b"10 T a\n20 T b\n");
    assert_eq!(at(&table, 0x1f), Some(("a".to_owned(), 0xf, 0x10)));
    assert_eq!(at(&table, u64::MAX), Some(("b".to_owned(), u64::MAX - 0x20, 0)));
}

#[test]
fn what_is_written_is_what_proc_kallsyms_prints() {
    let text = b"0000000000001000 T run\nffffffffc0001000 t probe\t[kvm]\nffffffffc0001000 d caf\xe9 (anonymous)\n";
    assert_eq!(read(text).to_text().unwrap(), text);
    assert_eq!(read(b"1 T \n").to_text().unwrap(), b"0000000000000001 T \n");
}

#[test]
fn what_a_line_cannot_hold_is_refused() {
    for (kind, name) in
        [(b'T', &b"a\nffff T forged"[..]), (b'T', b" a"), (b'T', b"a "), (b'T', b"a\tb"), (0, b"a"), (b' ', b"a")]
    {
        let mut blob = symbol_support::Blob::new(&[(1, name)]);
        blob.names[0] = kind;
        let reason =
            SymbolReason::NoText { name: name.escape_ascii().to_string(), kind: kind.escape_ascii().to_string() };
        assert_eq!(blob.read().unwrap().to_text().unwrap_err(), SymbolError { place: None, reason });
    }
}

#[test]
fn names_that_would_fill_the_memory_are_refused() {
    // The one text that is large enough by itself.
    let mut data = vec![b'n'; (256 << 20) + 8];
    data[..4].copy_from_slice(b"1 T ");
    let error = SymbolTable::from_text(&data, Range::ALL).map(|_| ()).unwrap_err();
    let reason = SymbolReason::TooLarge { limit: 256 << 20 };
    assert_eq!(error, SymbolError { place: Some(Place::Line(1)), reason });
}

// Search

fn found(table: &SymbolTable, part: &[u8]) -> Vec<String> {
    table.search(part).map(|symbol| text(symbol.name)).collect()
}

#[test]
fn search_finds_parts_of_names_in_the_order_of_addresses() {
    let table = read(b"30 T vcpu_run\n10 T run\n20 T halt\n40 T rerun_run\n50 t probe\t[kvm]\n");
    assert_eq!(found(&table, b"run"), ["run", "vcpu_run", "rerun_run"]);
    assert_eq!(found(&table, b""), ["run", "halt", "vcpu_run", "rerun_run", "probe"]);
    assert_eq!(found(&table, b"[kvm]"), ["probe"]);
    assert_eq!(found(&table, b"RUN"), [""; 0]);
    // The end of one name and the beginning of the next.
    assert_eq!(found(&table, b"runhalt"), [""; 0]);
    assert_eq!(found(&table, b"run\0halt"), [""; 0]);
    assert_eq!(table.search(b"run").take(2).count(), 2);
}

#[test]
fn search_agrees_with_looking_into_every_name() {
    let mut random = Random(9);
    for _ in 0..300 {
        let letter = |random: &mut Random| random.pick(b"ab\0");
        let symbols: Vec<Vec<u8>> =
            (0..random.below(12)).map(|_| (0..random.below(5)).map(|_| letter(&mut random)).collect()).collect();
        let payloads: Vec<(u64, &[u8])> = (0..).zip(symbols.iter().map(|name| &name[..])).collect();
        let table = symbol_support::Blob::new(&payloads).read().unwrap();
        let part: Vec<u8> = (0..random.below(4)).map(|_| letter(&mut random)).collect();
        let expected: Vec<u64> = (0..)
            .zip(&symbols)
            .filter(|(_, name)| part.is_empty() || name.windows(part.len()).any(|window| window == part))
            .map(|(address, _)| address)
            .collect();
        let found: Vec<u64> = table.search(&part).map(|symbol| symbol.address).collect();
        assert_eq!(found, expected, "{part:?} in {symbols:?}");
    }
}

#[test]
fn lookup_agrees_with_looking_at_every_symbol() {
    let mut random = Random(11);
    for round in 0..500 {
        // Some tables are large, with hundreds of symbols of one address among others.
        let (symbols, end) = if round % 20 == 0 { (500, random.pick(&[30, 1000])) } else { (random.below(9), 40) };
        let addresses: Vec<u64> = (0..symbols).map(|_| random.below(end)).collect();
        let lines: String =
            addresses.iter().enumerate().map(|(n, address)| format!("{address:x} T s{}\n", n % 5)).collect();
        let (stext, etext) = (random.below(20), end - 10 + random.below(30));
        let table = SymbolTable::from_text(lines.as_bytes(), range(stext, etext)).unwrap();
        for address in 0..end + 30 {
            let start = addresses.iter().copied().filter(|&start| start <= address).max();
            let expected = start.filter(|_| (stext..etext).contains(&address)).map(|start| {
                let first = addresses.iter().position(|&other| other == start).unwrap();
                let end = addresses.iter().copied().filter(|&other| other > start).min().unwrap_or(etext);
                (format!("s{}", first % 5), address - start, end - start)
            });
            assert_eq!(at(&table, address), expected, "{address:#x} in\n{lines}");
        }
        for n in 0..6 {
            let expected = addresses.iter().enumerate().filter(|(m, _)| m % 5 == n).map(|(_, &address)| address).min();
            assert_eq!(table.lookup_name(format!("s{n}").as_bytes()), expected);
        }
    }
}
