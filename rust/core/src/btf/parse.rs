//! The reader of `.BTF`: header, types, strings.

use super::types::{BtfKind, BtfType, EnumValue, Linkage, Member, Parameter, SectionVariable};
use super::{Btf, BtfError, MAX_TYPES};

const SECTION: &str = ".BTF";
/// Bytes of `struct btf_header`.
const HEADER: usize = 24;
/// Bytes of `struct btf_type`, before what its kind adds.
const TYPE: usize = 12;

/// Words of a slice, little-endian; a slice that is too short reads as 0, so check the length first.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub &'a [u8]);

impl Words<'_> {
    pub(super) fn at(self, byte: usize) -> u32 {
        self.0.get(byte..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
    }
}

/// Checks magic and version of `.BTF` or `.BTF.ext` and returns the length that the header states.
pub(super) fn header_len(data: &[u8], section: &'static str, expected: usize) -> Result<usize, BtfError> {
    let short = BtfError::ShortHeader { section, expected, found: data.len() };
    if data.len() < expected {
        return Err(short);
    }
    match [data[0], data[1]] {
        [0x9f, 0xeb] => {}
        [0xeb, 0x9f] => return Err(BtfError::BigEndian { section }),
        found => return Err(BtfError::Magic { section, found }),
    }
    if data[2] != 1 {
        return Err(BtfError::Version { section, found: data[2] });
    }
    let len = Words(data).at(4) as usize;
    if len < expected || len > data.len() {
        return Err(BtfError::Outside { section, part: "header", start: 0, end: len as u64, found: data.len() });
    }
    Ok(len)
}

/// A part of a section that its header places at `offset` behind the header.
pub(super) fn part(
    data: &[u8],
    section: &'static str,
    part: &'static str,
    header: usize,
    offset: u32,
    len: u32,
) -> Result<std::ops::Range<usize>, BtfError> {
    let start = header as u64 + u64::from(offset);
    let end = start + u64::from(len);
    if end > data.len() as u64 {
        return Err(BtfError::Outside { section, part, start, end, found: data.len() });
    }
    Ok(start as usize..end as usize)
}

pub(super) fn parse(data: &[u8]) -> Result<Btf, BtfError> {
    let header = header_len(data, SECTION, HEADER)?;
    let word = Words(data);
    let types = part(data, SECTION, "types", header, word.at(8), word.at(12))?;
    let strings = part(data, SECTION, "strings", header, word.at(16), word.at(20))?;
    let bytes = &data[strings.clone()];
    if bytes.first() != Some(&0) || bytes.last() != Some(&0) {
        return Err(BtfError::Strings { start: strings.start, end: strings.end });
    }
    let btf = Btf { types: read_types(&data[types.clone()], types.start)?, strings: text(bytes) };
    for (_, ty) in btf.types() {
        btf.rest(ty.name)?;
    }
    Ok(btf)
}

/// The string table as text of the same length.
fn text(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text.into_boxed_str()
}

fn read_types(data: &[u8], base: usize) -> Result<Vec<BtfType>, BtfError> {
    let mut types = vec![BtfType { name: 0, kind: BtfKind::Void }];
    let mut rest = data;
    while !rest.is_empty() {
        let id = types.len() as u32;
        if types.len() > MAX_TYPES {
            return Err(BtfError::TooMany { section: SECTION, what: "types", limit: MAX_TYPES });
        }
        let offset = base + data.len() - rest.len();
        let word = Words(rest);
        let short = |expected| BtfError::Truncated { id, offset, expected, found: rest.len() };
        if rest.len() < TYPE {
            return Err(short(TYPE));
        }
        let (name, info, last) = (word.at(0), word.at(4), word.at(8));
        let (kind, flag, count) = (info >> 24 & 0x1f, info >> 31 != 0, info & 0xffff);
        let many = count as usize;
        let more = match kind {
            1 | 14 | 17 => 4,
            2 | 7..=12 | 16 | 18 => 0,
            3 => 12,
            4 | 5 | 15 | 19 => many * 12,
            6 | 13 => many * 8,
            _ => return Err(BtfError::Kind { id, offset, kind }),
        };
        if rest.len() < TYPE + more {
            return Err(short(TYPE + more));
        }
        let more_bytes = &rest[TYPE..TYPE + more];
        let kind = read_kind(kind, flag, count, last, more_bytes).ok_or(BtfError::Kind { id, offset, kind })?;
        if let BtfKind::Int { size, bits, bit_offset, .. } = kind
            && (!size.is_power_of_two() || size > 16 || u32::from(bits) + u32::from(bit_offset) > size * 8 || bits == 0)
        {
            return Err(BtfError::Int { id, offset, bits: bits.into(), size });
        }
        types.push(BtfType { name, kind });
        rest = &rest[TYPE + more..];
    }
    Ok(types)
}

/// `flag` and `count` are from `info`, `last` is the word that is a size or a type, `more` what follows the three words.
fn read_kind(kind: u32, flag: bool, count: u32, last: u32, more: &[u8]) -> Option<BtfKind> {
    let word = Words(more);
    let triples = || more.chunks_exact(12).map(Words).map(|w| (w.at(0), w.at(4), w.at(8)));
    let pairs = || more.chunks_exact(8).map(Words).map(|w| (w.at(0), w.at(4)));
    let members = || {
        triples()
            .map(|(name, type_id, offset)| Member {
                name,
                type_id,
                bit_offset: if flag { offset & 0x00ff_ffff } else { offset },
                bitfield_size: if flag { (offset >> 24) as u8 } else { 0 },
            })
            .collect()
    };
    Some(match kind {
        1 => {
            let word = word.at(0);
            let encoding = word >> 24;
            BtfKind::Int {
                size: last,
                bits: word as u8,
                bit_offset: (word >> 16) as u8,
                signed: encoding & 1 != 0,
                char: encoding & 2 != 0,
                bool: encoding & 4 != 0,
            }
        }
        2 => BtfKind::Pointer { target: last },
        3 => BtfKind::Array { element: word.at(0), index: word.at(4), len: word.at(8) },
        4 => BtfKind::Struct { size: last, members: members() },
        5 => BtfKind::Union { size: last, members: members() },
        6 => BtfKind::Enum {
            size: last,
            signed: flag,
            values: pairs()
                .map(|(name, value)| EnumValue {
                    name,
                    value: if flag { i64::from(value as i32) } else { i64::from(value) },
                })
                .collect(),
        },
        7 => BtfKind::Forward { union: flag },
        8 => BtfKind::Typedef { target: last },
        9 => BtfKind::Volatile { target: last },
        10 => BtfKind::Const { target: last },
        11 => BtfKind::Restrict { target: last },
        12 => BtfKind::Function { prototype: last, linkage: Linkage::from_number(count) },
        13 => BtfKind::Prototype {
            result: last,
            parameters: pairs().map(|(name, type_id)| Parameter { name, type_id }).collect(),
        },
        14 => BtfKind::Variable { target: last, linkage: Linkage::from_number(word.at(0)) },
        15 => BtfKind::DataSection {
            size: last,
            variables: triples().map(|(type_id, offset, size)| SectionVariable { type_id, offset, size }).collect(),
        },
        16 => BtfKind::Float { size: last },
        17 => BtfKind::DeclTag { target: last, component: word.at(0) as i32 },
        18 => BtfKind::TypeTag { target: last },
        19 => BtfKind::Enum {
            size: last,
            signed: flag,
            values: triples()
                .map(|(name, low, high)| EnumValue { name, value: (u64::from(high) << 32 | u64::from(low)) as i64 })
                .collect(),
        },
        _ => return None,
    })
}
