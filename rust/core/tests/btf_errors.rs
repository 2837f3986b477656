//! Every way in which BTF can be refused: a test a variant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod object_fixtures;

use axebpf_core::btf::{Btf, BtfError, BtfExt, MAX_DEPTH, MAX_NAME, TypeLayout};
use object_fixtures::btf_section;

const INT: u32 = 1 << 24;
const POINTER: u32 = 2 << 24;
const ARRAY: u32 = 3 << 24;
const STRUCT: u32 = 4 << 24;
const TYPEDEF: u32 = 8 << 24;
/// The flag of a structure with bit fields.
const BITFIELDS: u32 = 1 << 31;

/// `int` of 4 bytes, as type 1 in the cases below.
const INT_TYPE: [u32; 4] = [1, INT, 4, 1 << 24 | 32];
const STRINGS: &[u8] = b"\0int\0";

fn types(types: &[u32]) -> Result<Btf, BtfError> {
    Btf::parse(&btf_section(types, STRINGS))
}

#[test]
fn short_header() {
    let data = btf_section(&INT_TYPE, STRINGS);
    for len in [0, 1, 23] {
        let expected = BtfError::ShortHeader { section: ".BTF", expected: 24, found: len };
        assert_eq!(Btf::parse(&data[..len]).unwrap_err(), expected);
    }
}

#[test]
fn magic_and_byte_order_and_version() {
    let mut data = btf_section(&INT_TYPE, STRINGS);
    data[..2].copy_from_slice(&[0xeb, 0x9f]);
    assert_eq!(Btf::parse(&data).unwrap_err(), BtfError::BigEndian { section: ".BTF" });
    data[..2].copy_from_slice(b"no");
    assert_eq!(Btf::parse(&data).unwrap_err(), BtfError::Magic { section: ".BTF", found: *b"no" });
    data[..3].copy_from_slice(&[0x9f, 0xeb, 2]);
    assert_eq!(Btf::parse(&data).unwrap_err(), BtfError::Version { section: ".BTF", found: 2 });
}

#[test]
fn parts_outside_the_section() {
    let good = btf_section(&INT_TYPE, STRINGS);
    for (word, value, part) in [(4, 23, "header"), (4, 1000, "header"), (12, 1000, "types"), (16, u32::MAX, "strings")]
    {
        let mut data = good.clone();
        data[word..word + 4].copy_from_slice(&value.to_le_bytes());
        match Btf::parse(&data).unwrap_err() {
            BtfError::Outside { section: ".BTF", part: found, .. } => assert_eq!(found, part),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn strings_without_their_zeros() {
    for strings in [&b""[..], b"int\0", b"\0int"] {
        let error = Btf::parse(&btf_section(&[], strings)).unwrap_err();
        assert_eq!(error, BtfError::Strings { start: 24, end: 24 + strings.len() });
    }
}

#[test]
fn truncated_type() {
    let error = types(&INT_TYPE[..3]).unwrap_err();
    assert_eq!(error, BtfError::Truncated { id: 1, offset: 24, expected: 16, found: 12 });
    let error = types(&[&INT_TYPE[..], &[0, STRUCT | 2, 8, 0, 1, 0]].concat()).unwrap_err();
    assert_eq!(error, BtfError::Truncated { id: 2, offset: 40, expected: 36, found: 24 });
    let error = types(&[&INT_TYPE[..], &[0, POINTER]].concat()).unwrap_err();
    assert_eq!(error, BtfError::Truncated { id: 2, offset: 40, expected: 12, found: 8 });
}

#[test]
fn unknown_kind() {
    for kind in [0, 20, 31] {
        let error = types(&[0, kind << 24, 0]).unwrap_err();
        assert_eq!(error, BtfError::Kind { id: 1, offset: 24, kind });
    }
}

#[test]
fn too_many() {
    let many: Vec<u32> = (0..0x0010_0000).flat_map(|_| [0, POINTER, 0]).collect();
    let expected = BtfError::TooMany { section: ".BTF", what: "types", limit: 0x000f_ffff };
    assert_eq!(types(&many).unwrap_err(), expected);
    assert_eq!(types(&many[3..]).unwrap().types().count(), 0x000f_ffff);

    let groups: Vec<u32> = std::iter::once(8).chain((0..16_385).flat_map(|_| [0, 0])).collect();
    let error = ext(&[(&groups, 0)]).unwrap_err();
    let expected = BtfError::TooMany { section: ".BTF.ext", what: "groups of records", limit: 16_384 };
    assert_eq!(error, expected);
}

#[test]
fn no_string() {
    let error = types(&[5, POINTER, 0]).unwrap_err();
    assert_eq!(error, BtfError::NoString { offset: 5, len: 5 });
}

#[test]
fn long_name() {
    let strings = [&[0][..], &vec![b'x'; MAX_NAME + 1], &[0]].concat();
    let btf = Btf::parse(&btf_section(&[1, TYPEDEF, 0, 2, TYPEDEF, 0], &strings)).unwrap();
    assert_eq!(btf.name(1).unwrap_err(), BtfError::LongName { offset: 1, limit: MAX_NAME });
    assert_eq!(btf.name(2).unwrap().len(), MAX_NAME);
}

#[test]
fn names_that_are_not_utf_8_keep_their_place() {
    let btf = Btf::parse(&btf_section(&[1, TYPEDEF, 0, 4, TYPEDEF, 0], b"\0a\xff\0b\0")).unwrap();
    assert_eq!((btf.name(1).unwrap(), btf.name(2).unwrap()), ("a?", "b"));
}

#[test]
fn no_type() {
    let btf = types(&[0, POINTER, 99]).unwrap();
    assert_eq!(btf.get(2).unwrap_err(), BtfError::NoType { id: 2, last: 1 });
    let btf = types(&[0, TYPEDEF, 99]).unwrap();
    assert_eq!(btf.layout(1).unwrap_err(), BtfError::NoType { id: 99, last: 1 });
}

#[test]
fn circles_end() {
    let limit = MAX_DEPTH;
    let typedef = types(&[0, TYPEDEF, 2, 0, TYPEDEF, 1]).unwrap();
    assert_eq!(typedef.resolve(1).unwrap_err(), BtfError::TooDeep { id: 1, limit });
    let array = types(&[0, ARRAY, 0, 1, 1, 1]).unwrap();
    assert_eq!(array.size_of(1).unwrap_err(), BtfError::TooDeep { id: 1, limit });
    let structure = types(&[0, STRUCT | 1, 4, 0, 1, 0]).unwrap();
    assert_eq!(structure.layout(1).unwrap_err(), BtfError::TooDeep { id: 1, limit });
    assert_eq!(structure.c_declaration(1).unwrap_err(), BtfError::TooDeep { id: 1, limit });
    let prototype = types(&[0, 13 << 24 | 1, 0, 1, 1]).unwrap();
    assert_eq!(prototype.c_declaration(1).unwrap_err(), BtfError::TooDeep { id: 1, limit });
}

/// Structures of two members each, 30 deep: 2 to the 30 members unless someone counts.
#[test]
fn too_complex() {
    let mut words = INT_TYPE.to_vec();
    for id in 1..=30 {
        words.extend([0, STRUCT | 2, 4, 1, id, 0, 1, id, 0]);
    }
    let btf = types(&words).unwrap();
    assert!(matches!(btf.layout(31).unwrap_err(), BtfError::TooComplex { id: 31, .. }));
    assert!(matches!(btf.c_declaration(31).unwrap_err(), BtfError::TooComplex { id: 31, .. }));
}

#[test]
fn no_size() {
    let btf = types(&[0, 13 << 24, 0, 0, 7 << 24, 0]).unwrap();
    assert_eq!(btf.size_of(0).unwrap_err(), BtfError::NoSize { id: 0, kind: "void" });
    assert_eq!(btf.size_of(1).unwrap_err(), BtfError::NoSize { id: 1, kind: "function prototype" });
    assert_eq!(btf.layout(2).unwrap_err(), BtfError::NoSize { id: 2, kind: "forward declaration" });
}

#[test]
fn too_large() {
    let btf = types(&[&INT_TYPE[..], &[0, ARRAY, 0, 1, 1, 1 << 30]].concat()).unwrap();
    assert_eq!(btf.size_of(2).unwrap_err(), BtfError::TooLarge { id: 2 });
    let btf = types(&[&INT_TYPE[..], &[0, ARRAY, 0, 1, 1, (1 << 30) - 1]].concat()).unwrap();
    assert_eq!(btf.size_of(2).unwrap(), u32::MAX - 3);
    let arrays: Vec<u32> = (2..6).flat_map(|id| [0, ARRAY, 0, id - 1, 1, u32::MAX]).collect();
    let btf = types(&[&INT_TYPE[..], &arrays].concat()).unwrap();
    assert_eq!(btf.size_of(5).unwrap_err(), BtfError::TooLarge { id: 5 });
}

#[test]
fn member_outside_its_structure() {
    let member = |flag: u32, offset: u32| {
        let btf = types(&[&INT_TYPE[..], &[0, flag | STRUCT | 1, 8, 1, 1, offset]].concat()).unwrap();
        btf.layout(2)
    };
    assert!(member(0, 32).is_ok());
    let expected = BtfError::Member { id: 2, member: "int".into(), bit_offset: 40, bits: 32, size: 8 };
    assert_eq!(member(0, 40).unwrap_err(), expected);
    assert!(matches!(member(0, 31).unwrap_err(), BtfError::Member { .. })); // between bytes
    assert!(member(BITFIELDS, 5 << 24 | 59).is_ok());
    assert!(matches!(member(BITFIELDS, 5 << 24 | 60).unwrap_err(), BtfError::Member { bits: 5, .. }));
    assert!(matches!(member(BITFIELDS, 33 << 24).unwrap_err(), BtfError::Member { bits: 33, .. }));
    // An anonymous structure that sticks out, though its members do not.
    let inner = [0, STRUCT | 1, 12, 1, 1, 0];
    let btf = types(&[&INT_TYPE[..], &inner, &[0, STRUCT | 1, 8, 0, 2, 0]].concat()).unwrap();
    assert!(matches!(btf.layout(3).unwrap_err(), BtfError::Member { id: 3, bits: 96, .. }));
}

/// Compilers before bit fields had a flag of their own put width and place into the integer.
#[test]
fn old_bit_fields_are_understood() {
    let btf = types(&[1, INT, 4, 3 << 16 | 5, 0, STRUCT | 1, 4, 1, 1, 8]).unwrap();
    let TypeLayout::Struct { members, .. } = btf.layout(2).unwrap() else { panic!() };
    assert_eq!((members[0].bit_offset, members[0].bitfield_size), (11, 5));
}

#[test]
fn impossible_integer() {
    for (size, bits) in [(0, 0), (3, 24), (32, 8), (4, 33), (4, 0)] {
        let error = types(&[1, INT, size, bits]).unwrap_err();
        assert_eq!(error, BtfError::Int { id: 1, offset: 24, bits, size });
    }
}

/// `.BTF.ext` of up to three parts (functions, lines, CO-RE), each words and a length to add to the true one.
fn ext(parts: &[(&[u32], i32)]) -> Result<BtfExt, BtfError> {
    let btf = types(&INT_TYPE).unwrap();
    let mut header = vec![0x0001_eb9f, 32];
    let mut body: Vec<u32> = Vec::new();
    for n in 0..3 {
        let (words, more) = parts.get(n).copied().unwrap_or_default();
        header.extend([body.len() as u32 * 4, (words.len() as i32 * 4 + more) as u32]);
        body.extend(words);
    }
    let data: Vec<u8> = header.iter().chain(&body).flat_map(|word| word.to_le_bytes()).collect();
    BtfExt::parse(&data, &btf)
}

#[test]
fn records_are_read_by_section() {
    let functions: &[u32] = &[12, 1, 2, 0, 1, 77, 64, 1, 77];
    let lines: &[u32] = &[16, 1, 3, 8, 1, 1, 3 << 10 | 7, 0, 1, 1, 2 << 10, 8, 1, 1, 9 << 10];
    let relocations: &[u32] = &[16, 1, 1, 8, 1, 1, 0];
    let ext = ext(&[(functions, 0), (lines, 0), (relocations, 0)]).unwrap();
    let section = ext.section("int").unwrap();
    assert_eq!(section.functions.iter().map(|f| f.offset).collect::<Vec<_>>(), [0, 64]);
    let lines: Vec<_> = section.lines.iter().map(|l| (l.offset, l.line, l.column)).collect();
    assert_eq!(lines, [(0, 2, 0), (8, 3, 7)]);
    let btf = types(&INT_TYPE).unwrap();
    assert_eq!(section.relocations[0].describe(&btf), "byte offset of the field int of int");
    assert!(ext.section("other").is_none());
    assert_eq!(ext.sections().count(), 1);
}

#[test]
fn record_size() {
    for (part, words) in [(0, [7, 1, 1]), (1, [15, 1, 1]), (2, [0, 1, 1])] {
        let mut parts = vec![(&[][..], 0); 3];
        parts[part] = (&words, 0);
        let BtfError::RecordSize { offset: 32, found, .. } = ext(&parts).unwrap_err() else { panic!() };
        assert_eq!(found, words[0]);
    }
}

#[test]
fn records_outside_their_part() {
    let cases: [(&[u32], i32); 4] = [(&[8, 1, 2, 0, 1], 0), (&[8, 1, u32::MAX, 0, 1], 0), (&[8, 1], 0), (&[8], -2)];
    for case in cases {
        let error = ext(&[case]).unwrap_err();
        assert!(matches!(error, BtfError::Records { part: "function records", .. }), "{error}");
    }
    let error = ext(&[(&[8, 1, 1, 0, 1], 4)]).unwrap_err();
    assert!(matches!(error, BtfError::Outside { section: ".BTF.ext", part: "function records", .. }), "{error}");
}
