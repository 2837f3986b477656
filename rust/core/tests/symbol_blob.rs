//! Blobs: what is read and written, every way in which one can be refused, and what `ksym` gets wrong with them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;
mod symbol_support;

use axebpf_core::symbol::{BlobStyle, Place, Range, SymbolError, SymbolReason, SymbolTable};
use random::Random;
use symbol_support::{Blob, at, check, names, range};

const TWO: &[(u64, &[u8])] = &[(0x1000, b"main"), (0x1040, b"run")];

fn refused(blob: &[u8]) -> (u64, SymbolReason) {
    match SymbolTable::from_blob(blob, Range::ALL) {
        Err(SymbolError { place: Some(Place::Offset(offset)), reason }) => (offset, reason),
        Err(error) => panic!("no offset: {error}"),
        Ok(table) => panic!("a table of {} symbols", table.len()),
    }
}

// What is read

#[test]
fn both_styles_are_told_apart_by_the_length() {
    let blob = Blob::new(TWO);
    for data in [blob.old(), blob.new_style()] {
        let table = SymbolTable::from_blob(&data, range(0x1000, 0x1100)).unwrap();
        assert_eq!(names(&table), ["main", "run"]);
        assert_eq!(at(&table, 0x1044), Some(("run".to_owned(), 4, 0xc0)));
        assert_eq!(table.lookup_address(0x1044).unwrap().symbol.kind, b'T');
    }
}

#[test]
fn zeros_may_follow_as_in_a_reserved_section() {
    for mut data in [Blob::new(TWO).old(), Blob::new(TWO).new_style()] {
        for len in [4096, 512 << 10] {
            data.resize(len, 0);
            assert_eq!(names(&SymbolTable::from_blob(&data, Range::ALL).unwrap()), ["main", "run"]);
        }
    }
    let mut damaged = Blob::new(&[(0x10, b"main"), (0x8, b"run")]).new_style();
    damaged.resize(4096, 0);
    assert_eq!(refused(&damaged), (24, SymbolReason::Descending { index: 1, found: 0x8, before: 0x10 }));
}

#[test]
fn a_blob_of_zeros_is_a_table_without_symbols() {
    for len in [32, 4096, 512 << 10] {
        let table = SymbolTable::from_blob(&vec![0; len], range(0x1000, 0x2000)).unwrap();
        assert!(table.is_empty());
        assert_eq!(table.lookup_address(0x1800), None);
        assert_eq!(table.lookup_name(b""), None);
        assert_eq!(table.search(b"").count(), 0);
    }
}

#[test]
fn tokens_stand_before_the_rest_of_a_name() {
    let texts: Vec<String> = (0..300).map(|id| format!("token{id}_")).collect();
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let payloads: &[(u64, &[u8])] =
        &[(1, b"\xff\x07\xffa"), (2, b"\xff\xff\xffb"), (3, b"\xff\x01\x00\xffc"), (4, b"\xff\x01\x2b\xff")];
    let table = Blob::new(payloads).with_tokens(&texts).read().unwrap();
    assert_eq!(names(&table), ["token7_a", "token255_b", "token256_c", "token299_"]);
}

// What ksym gets wrong: each test is one of its defects

#[test]
fn a_name_that_sorts_before_all_others_is_not_found_and_panics_nowhere() {
    let table = Blob::new(&[(0x1000, b"m")]).read().unwrap();
    assert_eq!(table.lookup_name(b""), None);
    assert_eq!(table.lookup_name(b"a"), None);
    assert_eq!(table.lookup_name(b"z"), None);
}

#[test]
fn a_symbol_without_a_name_is_kept_and_found() {
    let table = Blob::new(&[(0x1000, b""), (0x1010, b"a"), (0x1020, b"")]).read().unwrap();
    assert_eq!(at(&table, 0x1004), Some((String::new(), 4, 0x10)));
    assert_eq!(table.named(b"").map(|symbol| symbol.address).collect::<Vec<_>>(), [0x1000, 0x1020]);
}

#[test]
fn an_address_below_the_first_symbol_is_nothing_even_within_the_text() {
    let table = SymbolTable::from_blob(&Blob::new(TWO).old(), range(0, 0x2000)).unwrap();
    assert_eq!(at(&table, 0xfff), None);
    assert_eq!(at(&table, 0), None);
}

#[test]
fn outside_the_text_nothing_is_found_by_address_but_by_name() {
    let table = SymbolTable::from_blob(&Blob::new(TWO).old(), range(0x1010, 0x1040)).unwrap();
    assert_eq!(at(&table, 0x100f), None);
    assert_eq!(at(&table, 0x1010), Some(("main".to_owned(), 0x10, 0x40)));
    assert_eq!(at(&table, 0x103f), Some(("main".to_owned(), 0x3f, 0x40)));
    assert_eq!(at(&table, 0x1040), None);
    assert_eq!(table.lookup_name(b"run"), Some(0x1040));
}

#[test]
fn the_size_of_a_last_symbol_behind_the_text_does_not_wrap() {
    let table = SymbolTable::from_blob(&Blob::new(TWO).old(), range(0x1000, 0x1010)).unwrap();
    assert_eq!(table.named(b"run").next().unwrap().size, 0);
    assert_eq!(table.named(b"main").next().unwrap().size, 0x40);
}

#[test]
fn of_aliases_the_first_is_given_at_the_start_and_within() {
    let symbols: &[(u64, &[u8])] = &[(0x10, b"a"), (0x20, b"first"), (0x20, b"second"), (0x20, b"third"), (0x30, b"b")];
    let table = Blob::new(symbols).read().unwrap();
    for offset in [0, 1, 0xf] {
        assert_eq!(at(&table, 0x20 + offset), Some(("first".to_owned(), offset, 0x10)));
    }
    assert!(table.iter().skip(1).take(3).all(|symbol| symbol.size == 0x10));
}

#[test]
fn a_huge_number_of_symbols_is_refused_before_it_is_multiplied() {
    for found in [100, u64::MAX / 16, u64::MAX / 8, 1 << 61, u64::MAX] {
        let mut old = Blob::new(TWO).old();
        old[..8].copy_from_slice(&found.to_le_bytes());
        assert_eq!(refused(&old), (0, SymbolReason::Count { found, len: old.len() }));
        let mut new = Blob::new(TWO).new_style();
        new[8..16].copy_from_slice(&found.to_le_bytes());
        assert_eq!(refused(&new), (8, SymbolReason::Count { found, len: new.len() }));
    }
}

#[test]
fn token_511_is_not_token_1_before_a_stray_byte() {
    let texts: Vec<String> = (0..512).map(|id| format!("token{id}_")).collect();
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let symbols: &[(u64, &[u8])] =
        &[(0x10, b"\xff\x01\xff\xffend"), (0x20, b"\xff\x01\xffend"), (0x30, b"\xff\x01\xff")];
    let table = Blob::new(symbols).with_tokens(&texts).read().unwrap();
    assert_eq!(names(&table), ["token511_end", "token1_end", "token1_"]);
    assert_eq!(table.lookup_name(b"token511_end"), Some(0x10));
}

#[test]
fn names_above_4096_bytes_are_whole() {
    let long = [b'n'; 65535];
    let table = Blob::new(&[(0x10, &long)]).read().unwrap();
    assert_eq!(table.lookup_name(&long), Some(0x10));
    assert_eq!(table.get(0).unwrap().name, long);
    let written = table.to_blob(BlobStyle::Ksym).unwrap();
    assert_eq!(SymbolTable::from_blob(&written, Range::ALL).unwrap().get(0).unwrap().name, long);
}

#[test]
fn a_name_whose_length_would_wrap_is_refused_when_written() {
    let text = [b"10 T ".as_slice(), &[b'n'; 65536]].concat();
    let table = SymbolTable::from_text(&text, Range::ALL).unwrap();
    match table.to_blob(BlobStyle::Ksym06).unwrap_err() {
        SymbolError { place: None, reason: SymbolReason::NameTooLong { name, found: 65536 } } => {
            assert!(name.len() < 100 && name.starts_with("nnnn"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn more_than_65535_names_are_all_found() {
    let text: String = (0..70_000).map(|n| format!("{:x} t name{n}\n", 0x1000 + 16 * n)).collect();
    let blob = SymbolTable::from_text(text.as_bytes(), Range::ALL).unwrap().to_blob(BlobStyle::Ksym06).unwrap();
    let table = SymbolTable::from_blob(&blob, Range::ALL).unwrap();
    for n in [0_u64, 65_535, 65_536, 69_999] {
        assert_eq!(table.lookup_name(format!("name{n}").as_bytes()), Some(0x1000 + 16 * n));
        assert_eq!(at(&table, 0x1000 + 16 * n + 5).unwrap().0, format!("name{n}"));
    }
}

#[test]
fn a_name_that_is_no_utf_8_is_kept_as_it_is() {
    let table = Blob::new(&[(0x10, b"caf\xe9"), (0x20, b"\x80\xff")]).read().unwrap();
    assert_eq!(table.lookup_address(0x10).unwrap().symbol.name, b"caf\xe9");
    assert_eq!(table.lookup_name(b"\x80\xff"), Some(0x20));
    let again = SymbolTable::from_blob(&table.to_blob(BlobStyle::Ksym).unwrap(), Range::ALL).unwrap();
    assert!(again.iter().eq(table.iter()));
}

#[test]
fn a_wrong_order_by_name_hides_no_symbol() {
    let mut blob = Blob::new(&[(0x10, b"c"), (0x20, b"b"), (0x30, b"a")]);
    blob.order = vec![0, 0, 0];
    let table = blob.read().unwrap();
    assert_eq!([&b"a"[..], b"b", b"c"].map(|name| table.lookup_name(name)), [Some(0x30), Some(0x20), Some(0x10)]);
}

// Every way to refuse

#[test]
fn a_blob_that_is_cut_off_anywhere() {
    for blob in [Blob::new(TWO).with_tokens(&[b"token"]).old(), Blob::new(TWO).with_tokens(&[b"token"]).new_style()] {
        for len in 0..blob.len() {
            let (offset, reason) = refused(&blob[..len]);
            assert!(matches!(reason, SymbolReason::Truncated { .. } | SymbolReason::Count { .. }), "{len}: {reason}");
            assert!(offset <= len.next_multiple_of(8) as u64);
        }
    }
    assert_eq!(refused(b""), (0, SymbolReason::Truncated { what: "the number of symbols", end: 8, len: 0 }));
    assert!(matches!(refused(&[0xff; 4]), (0, SymbolReason::Truncated { .. })));
}

#[test]
fn parts_that_would_end_behind_the_blob() {
    let good = Blob::new(TWO).with_tokens(&[b"token"]).old();
    let names_at = 8 + 2 * 16;
    let token_table_at = (names_at + 8 + 2 * 3 + 7_usize).next_multiple_of(8);
    let tokens_at = (token_table_at + 8 + 5).next_multiple_of(8);
    for (place, what) in
        [(names_at, "the names"), (token_table_at, "the token table"), (tokens_at, "the places of the tokens")]
    {
        for found in [1000, u64::MAX / 4, u64::MAX] {
            let mut data = good.clone();
            data[place..place + 8].copy_from_slice(&found.to_le_bytes());
            match refused(&data) {
                (offset, SymbolReason::Truncated { what: part, end, len }) => {
                    assert_eq!((offset, part, len), (place as u64 + 8, what, data.len()));
                    assert!(end > len as u64);
                }
                (_, other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn addresses_that_descend() {
    let blob = Blob::new(&[(0x10, b"a"), (0x30, b"b"), (0x20, b"c")]);
    let reason = SymbolReason::Descending { index: 2, found: 0x20, before: 0x30 };
    assert_eq!(refused(&blob.old()), (8 + 2 * 8, reason.clone()));
    assert_eq!(refused(&blob.new_style()), (16 + 2 * 8, reason));
}

#[test]
fn names_that_begin_elsewhere_than_behind_the_one_before() {
    let good = Blob::new(TWO);
    let place = 8 + 2 * 8 + 4;
    for found in [0, 6, 12, 14, 0x7fff_ffff, u32::MAX] {
        let mut blob = good.clone();
        blob.starts[1] = found;
        let reason = SymbolReason::NameOffset { index: 1, found, from: 7, to: 10 };
        assert_eq!(refused(&blob.old()), (place, reason));
    }
    let empty = Blob { names: Vec::new(), starts: vec![0], ..Blob::new(&[(1, b"")]) };
    // Padded, so that the missing names do not make the blob too short for a symbol.
    let mut data = empty.old();
    data.resize(64, 0);
    assert_eq!(refused(&data).1, SymbolReason::NameOffset { index: 0, found: 0, from: 0, to: 0 });
}

#[test]
fn a_name_longer_than_what_is_left() {
    let mut blob = Blob::new(TWO);
    blob.names[8] = 4;
    let names_at = 8 + 2 * 16 + 8;
    assert_eq!(refused(&blob.old()), (names_at + 10, SymbolReason::NameLength { index: 1, found: 4, room: 3 }));
}

#[test]
fn an_order_by_name_of_symbols_that_do_not_exist() {
    for found in [2, u32::MAX] {
        let mut blob = Blob::new(TWO);
        blob.order[1] = found;
        let reason = SymbolReason::Sequence { index: 1, found, count: 2 };
        assert_eq!(refused(&blob.old()), (8 + 2 * 8 + 2 * 4 + 4, reason));
    }
}

#[test]
fn tokens_outside_their_table() {
    let good = Blob::new(&[(1, b"\xff\x00\xff")]).with_tokens(&[b"one", b"two"]);
    for (index, found, from) in [(0, 7, 0), (1, 7, 0), (1, u32::MAX, 0)] {
        let mut blob = good.clone();
        blob.tokens[index] = found;
        let (offset, reason) = refused(&blob.old());
        assert_eq!(reason, SymbolReason::TokenOffset { index, found, from, to: 6 });
        assert_eq!(offset as usize, blob.old().len() - 8 + 4 * index);
    }
    let mut blob = good;
    blob.tokens = vec![3, 2];
    assert_eq!(refused(&blob.old()).1, SymbolReason::TokenOffset { index: 1, found: 2, from: 3, to: 6 });
}

#[test]
fn a_token_that_does_not_exist() {
    for (payload, found) in [(&b"\xff\x02\xff"[..], 2), (b"\xff\xff\xff", 255), (b"\xff\x01\x00\xffrest", 256)] {
        let blob = Blob::new(&[(1, payload)]).with_tokens(&[b"one", b"two"]);
        let names_at = 8 + 16 + 8;
        assert_eq!(refused(&blob.old()), (names_at + 3, SymbolReason::NoToken { index: 0, found, count: 2 }));
    }
    // Without any token, the mark is wrong all the same.
    let reason = SymbolReason::NoToken { index: 0, found: 0x61, count: 0 };
    assert_eq!(refused(&Blob::new(&[(1, b"\xff\x61\xff")]).old()).1, reason);
}

#[test]
fn a_mark_of_a_token_that_does_not_end() {
    for payload in [&b"\xff"[..], b"\xff\x01", b"\xff\x01\x02", b"\xff\x00\x02\xff", b"\xff\x01\x02\x03\xff"] {
        let blob = Blob::new(&[(1, payload)]).with_tokens(&[b"one", b"two"]);
        assert_eq!(refused(&blob.old()).1, SymbolReason::TokenMark { index: 0 }, "{payload:?}");
    }
}

#[test]
fn what_follows_the_blob_and_is_no_padding() {
    for blob in [Blob::new(TWO).old(), vec![0; 32]] {
        let len = blob.len() as u64;
        let data = [&blob[..], &[0, 0, 1]].concat();
        assert_eq!(refused(&data), (len, SymbolReason::Trailing { len: 3 }));
    }
}

#[test]
fn tokens_that_would_fill_the_memory() {
    // A token of 1 MiB, which each of 300 short names begins with.
    let token = vec![b't'; 1 << 20];
    let symbols: Vec<(u64, &[u8])> = (0..300).map(|n| (n, &b"\xff\x00\xff"[..])).collect();
    let blob = Blob::new(&symbols).with_tokens(&[&token]);
    assert_eq!(refused(&blob.old()).1, SymbolReason::TooLarge { limit: 256 << 20 });
}

#[test]
fn a_text_that_ends_before_it_starts() {
    let error = Range::new(2, Some(1)).unwrap_err();
    assert_eq!(error, SymbolError { place: None, reason: SymbolReason::Range { stext: 2, etext: 1 } });
    assert!(Range::new(2, Some(2)).is_ok());
}

#[test]
fn a_name_that_would_be_taken_for_a_token_is_refused_when_written() {
    let table = SymbolTable::from_text(b"10 T \xff\x61\xff", Range::ALL).unwrap();
    let reason = SymbolReason::NameMark { name: "\\xffa\\xff".to_owned() };
    assert_eq!(table.to_blob(BlobStyle::Ksym).unwrap_err(), SymbolError { place: None, reason });
}

#[test]
fn the_two_styles_that_are_written_differ_by_the_length() {
    let table = Blob::new(TWO).read().unwrap();
    let (new, old) = (table.to_blob(BlobStyle::Ksym06).unwrap(), table.to_blob(BlobStyle::Ksym).unwrap());
    assert_eq!(new[..8], (new.len() as u64).to_le_bytes());
    assert_eq!(new[8..], old);
    assert_eq!(old, Blob::new(TWO).old());
}

#[test]
fn a_damaged_blob_is_an_error_at_a_place_in_it_or_a_table() {
    let mut random = Random(4);
    let texts: Vec<String> = (0..512).map(|id| format!("t{id}_")).collect();
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let symbols: &[(u64, &[u8])] =
        &[(0x10, b"\xff\x01\xff\xffend"), (0x20, b"plain"), (0x20, b""), (0x30, b"\xff\x07\xff")];
    let good = [Blob::new(symbols).with_tokens(&texts).old(), Blob::new(symbols).with_tokens(&texts[..8]).new_style()];
    for _ in 0..20_000 {
        let mut data = random.pick(&[&good[0], &good[1]]).clone();
        for _ in 0..=random.below(3) {
            // Mostly in the head, where the numbers are.
            let end = if random.once_in(4) { data.len() as u64 } else { 120 };
            let place = random.below(end) as usize;
            data[place] = random.pick(&[0, 1, 0x7f, 0x80, 0xff, random.0 as u8]);
        }
        data.truncate(if random.once_in(4) { random.below(data.len() as u64) as usize } else { data.len() });
        match SymbolTable::from_blob(&data, range(0x10, 0x40)) {
            Ok(table) => check(&table),
            Err(error) => {
                let Some(Place::Offset(offset)) = error.place else { panic!("{error}") };
                assert!(offset <= data.len().next_multiple_of(8) as u64, "{error}");
            }
        }
    }
}
