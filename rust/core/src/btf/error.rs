//! What can be wrong with BTF.

/// Why `.BTF` or `.BTF.ext` cannot be used. Offsets are bytes from the start of that section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Fewer bytes than a header.
    #[error("{section}: {found} bytes are too few for its header of {expected}; is the object truncated?")]
    ShortHeader {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// Bytes of a header.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The first two bytes are not `9f eb`.
    #[error("{section}: begins with {found:02x?}, expected [9f, eb]; this is not BTF")]
    Magic {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// The two bytes.
        found: [u8; 2],
    },
    /// The magic of big-endian BTF.
    #[error("{section} is big-endian; compile with -target bpfel")]
    BigEndian {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
    },
    /// A version other than 1.
    #[error("{section}: version {found}, expected 1")]
    Version {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// Version byte.
        found: u8,
    },
    /// A part that the header places outside the section.
    #[error("{section}: its {part} lie at bytes {start}..{end}, outside the {found} bytes there are")]
    Outside {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// `types`, `strings`, `line records` …
        part: &'static str,
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// Bytes of the section.
        found: usize,
    },
    /// The string table does not begin and end with a zero byte.
    #[error(".BTF: the strings at bytes {start}..{end} do not begin and end with a zero byte")]
    Strings {
        /// First byte.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
    /// A type that runs past the end of the types.
    #[error(".BTF: type {id} at byte {offset} needs {expected} bytes, but {found} are left")]
    Truncated {
        /// Type id.
        id: u32,
        /// Where the type begins.
        offset: usize,
        /// Bytes of the type.
        expected: usize,
        /// Bytes left.
        found: usize,
    },
    /// A kind that the format does not have.
    #[error(".BTF: type {id} at byte {offset} has kind {kind}, expected 1 to 19")]
    Kind {
        /// Type id.
        id: u32,
        /// Where the type begins.
        offset: usize,
        /// The number.
        kind: u32,
    },
    /// More than a reader should hold.
    #[error("{section}: more than {limit} {what}")]
    TooMany {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// An offset that is not the start of a string.
    #[error(".BTF: no string begins at offset {offset}; the table has {len} bytes")]
    NoString {
        /// Offset in the string table.
        offset: u32,
        /// Bytes of the table.
        len: usize,
    },
    /// A name that no compiler writes.
    #[error(".BTF: the name at string offset {offset} has more than {limit} bytes")]
    LongName {
        /// Offset in the string table.
        offset: u32,
        /// The limit.
        limit: usize,
    },
    /// A type id that does not exist.
    #[error(".BTF: there is no type {id}; the last one is {last}")]
    NoType {
        /// The id.
        id: u32,
        /// The last id.
        last: u32,
    },
    /// Types that refer to each other in a circle, or nest too deeply.
    #[error(".BTF: type {id} nests more than {limit} levels deep, or contains itself")]
    TooDeep {
        /// The id where the walk began.
        id: u32,
        /// The limit.
        limit: usize,
    },
    /// A type without a size, such as `void` or a function.
    #[error(".BTF: type {id} is a {kind}, which has no size and no values")]
    NoSize {
        /// The id.
        id: u32,
        /// Its kind in words.
        kind: &'static str,
    },
    /// A type of 4 GiB or more.
    #[error(".BTF: type {id} is larger than 4 GiB")]
    TooLarge {
        /// The id.
        id: u32,
    },
    /// A type of too many parts.
    #[error(".BTF: type {id} has more than {limit} members and values in all")]
    TooComplex {
        /// The id.
        id: u32,
        /// The limit.
        limit: usize,
    },
    /// A member that does not lie in its structure.
    #[error(
        ".BTF: member {member} of type {id}: {bits} bits at bit {bit_offset} do not lie in a structure of {size} bytes"
    )]
    Member {
        /// Id of the structure.
        id: u32,
        /// The member's name.
        member: String,
        /// Where it begins.
        bit_offset: u32,
        /// Its width.
        bits: u64,
        /// Bytes of the structure.
        size: u32,
    },
    /// An integer with an impossible size.
    #[error(".BTF: type {id} at byte {offset}: an integer of {bits} bits in {size} bytes")]
    Int {
        /// Type id.
        id: u32,
        /// Where the type begins.
        offset: usize,
        /// Bits of value.
        bits: u32,
        /// Bytes of storage.
        size: u32,
    },
    /// A record size in `.BTF.ext` that is smaller than the record.
    #[error(".BTF.ext: {part} at byte {offset} have {found} bytes each, expected at least {expected}")]
    RecordSize {
        /// `function records`, `line records`, `CO-RE records`.
        part: &'static str,
        /// Where the size is.
        offset: usize,
        /// Bytes of a record that we know.
        expected: usize,
        /// What it says.
        found: u32,
    },
    /// Records of a section that run past their part.
    #[error(".BTF.ext: {count} {part} at byte {offset} run past the {part}, which end at byte {end}")]
    Records {
        /// `function records`, `line records`, `CO-RE records`.
        part: &'static str,
        /// Where the records begin.
        offset: usize,
        /// How many there are said to be.
        count: u32,
        /// Where the part ends.
        end: usize,
    },
}
