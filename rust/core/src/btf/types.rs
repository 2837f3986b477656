//! Types as they stand in `.BTF`.

/// Number of a type within its object; 0 is `void`.
pub type TypeId = u32;

/// One type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtfType {
    /// Offset of its name in the string table; 0 where it has none. See [`super::Btf::name`].
    pub name: u32,
    /// What it is.
    pub kind: BtfKind,
}

/// How far a function or variable is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// `static`.
    Static,
    /// Defined here, visible to others.
    Global,
    /// Defined elsewhere.
    Extern,
}

impl Linkage {
    pub(super) fn from_number(number: u32) -> Linkage {
        match number {
            0 => Linkage::Static,
            1 => Linkage::Global,
            _ => Linkage::Extern,
        }
    }
}

/// A member of a structure or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset of its name in the string table; 0 for an anonymous structure.
    pub name: u32,
    /// Its type.
    pub type_id: TypeId,
    /// Bits from the start of the structure.
    pub bit_offset: u32,
    /// Bits of a bit field; 0 for any other member.
    pub bitfield_size: u8,
}

/// An enumerator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumValue {
    /// Offset of its name in the string table.
    pub name: u32,
    /// Its value; of an unsigned enumeration of 64 bits, the same bits as `u64`.
    pub value: i64,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Offset of its name in the string table.
    pub name: u32,
    /// Its type; 0 with name 0 means `...`.
    pub type_id: TypeId,
}

/// A variable within a data section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionVariable {
    /// The variable (or, for externs, the function).
    pub type_id: TypeId,
    /// Bytes from the start of the section.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

/// The kinds of the format, under C's names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `target`, `size` (bytes) and the like mean the same everywhere
pub enum BtfKind {
    /// Id 0.
    Void,
    /// An integer; `bits` of value from bit `bit_offset` on, usually all of `size`.
    Int { size: u32, bits: u8, bit_offset: u8, signed: bool, char: bool, bool: bool },
    /// A pointer, 8 bytes.
    Pointer { target: TypeId },
    /// An array.
    Array { element: TypeId, index: TypeId, len: u32 },
    /// A structure.
    Struct { size: u32, members: Box<[Member]> },
    /// A union.
    Union { size: u32, members: Box<[Member]> },
    /// An enumeration, of 32 or 64 bits of value.
    Enum { size: u32, signed: bool, values: Box<[EnumValue]> },
    /// A structure or union that is only declared.
    Forward { union: bool },
    /// A typedef.
    Typedef { target: TypeId },
    /// `volatile`.
    Volatile { target: TypeId },
    /// `const`.
    Const { target: TypeId },
    /// `restrict`.
    Restrict { target: TypeId },
    /// A function of a prototype.
    Function { prototype: TypeId, linkage: Linkage },
    /// A prototype.
    Prototype { result: TypeId, parameters: Box<[Parameter]> },
    /// A variable.
    Variable { target: TypeId, linkage: Linkage },
    /// A data section and its variables.
    DataSection { size: u32, variables: Box<[SectionVariable]> },
    /// A floating-point number.
    Float { size: u32 },
    /// `btf_decl_tag` on a declaration, or on its member or parameter of number `component`.
    DeclTag { target: TypeId, component: i32 },
    /// `btf_type_tag`.
    TypeTag { target: TypeId },
}

impl BtfKind {
    /// The kind in words.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            BtfKind::Void => "void",
            BtfKind::Int { .. } => "integer",
            BtfKind::Pointer { .. } => "pointer",
            BtfKind::Array { .. } => "array",
            BtfKind::Struct { .. } => "structure",
            BtfKind::Union { .. } => "union",
            BtfKind::Enum { .. } => "enumeration",
            BtfKind::Forward { .. } => "forward declaration",
            BtfKind::Typedef { .. } => "typedef",
            BtfKind::Volatile { .. } | BtfKind::Const { .. } | BtfKind::Restrict { .. } => "qualifier",
            BtfKind::Function { .. } => "function",
            BtfKind::Prototype { .. } => "function prototype",
            BtfKind::Variable { .. } => "variable",
            BtfKind::DataSection { .. } => "data section",
            BtfKind::Float { .. } => "floating-point number",
            BtfKind::DeclTag { .. } => "declaration tag",
            BtfKind::TypeTag { .. } => "type tag",
        }
    }
}
