//! The layout of values: a tree that stands alone, from which keys and values of maps are typed.

use super::{Btf, BtfError, BtfKind, MAX_DEPTH, Member, TypeId};

/// Most members, elements and enumerators in one layout.
const MAX_NODES: usize = 65_536;

/// What an integer's bits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntEncoding {
    /// A number.
    Number,
    /// A character.
    Char,
    /// A truth value.
    Bool,
}

/// How the bytes of a value are to be read; everything is little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeLayout {
    /// An integer of `size` bytes (1, 2, 4, 8, 16).
    Int {
        /// Bytes.
        size: u32,
        /// Whether the top bit is a sign.
        signed: bool,
        /// What it means.
        encoding: IntEncoding,
    },
    /// A floating-point number of `size` bytes.
    Float {
        /// Bytes.
        size: u32,
    },
    /// An enumeration.
    Enum {
        /// Its tag; empty where it has none.
        name: String,
        /// Bytes.
        size: u32,
        /// Whether the top bit is a sign.
        signed: bool,
        /// Names and values; of 8 unsigned bytes, a value is the same bits as `u64`.
        values: Vec<(String, i64)>,
    },
    /// A pointer, 8 bytes.
    Pointer,
    /// `len` elements, one behind the other.
    Array {
        /// Of what.
        element: Box<TypeLayout>,
        /// How many.
        len: u32,
    },
    /// A structure, or a data section with its variables.
    Struct {
        /// Its tag; empty where it has none.
        name: String,
        /// Bytes.
        size: u32,
        /// Members in order; those of an anonymous structure or union stand in its place.
        members: Vec<LayoutMember>,
    },
    /// A union.
    Union {
        /// Its tag; empty where it has none.
        name: String,
        /// Bytes.
        size: u32,
        /// Members, as of a structure.
        members: Vec<LayoutMember>,
    },
    /// Bytes of which no type is known.
    Bytes {
        /// How many.
        size: u32,
    },
}

/// A member of a structure or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutMember {
    /// Its name.
    pub name: String,
    /// Bits from the start of the outermost named structure; a multiple of 8 but for bit fields.
    pub bit_offset: u32,
    /// Bits of a bit field, at least 1; 0 for any other member.
    pub bitfield_size: u32,
    /// What it holds; of a bit field, the declared type.
    pub layout: TypeLayout,
}

impl TypeLayout {
    /// Bytes of a value.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            TypeLayout::Int { size, .. }
            | TypeLayout::Float { size }
            | TypeLayout::Enum { size, .. }
            | TypeLayout::Struct { size, .. }
            | TypeLayout::Union { size, .. }
            | TypeLayout::Bytes { size } => u64::from(*size),
            TypeLayout::Pointer => 8,
            TypeLayout::Array { element, len } => element.size().saturating_mul(u64::from(*len)),
        }
    }
}

impl Btf {
    /// The layout of a type's values. A data section gives a structure of its variables.
    ///
    /// # Errors
    /// The type has no values, contains itself, nests more than [`MAX_DEPTH`] deep, is too large, or places a member
    /// outside its structure.
    pub fn layout(&self, id: TypeId) -> Result<TypeLayout, BtfError> {
        self.size_of(id)?;
        Walk { btf: self, root: id, nodes: 0 }.layout(id, 0)
    }
}

struct Walk<'b> {
    btf: &'b Btf,
    root: TypeId,
    nodes: usize,
}

impl Walk<'_> {
    fn count(&mut self, more: usize) -> Result<(), BtfError> {
        self.nodes += more;
        if self.nodes > MAX_NODES {
            return Err(BtfError::TooComplex { id: self.root, limit: MAX_NODES });
        }
        Ok(())
    }

    fn layout(&mut self, id: TypeId, depth: usize) -> Result<TypeLayout, BtfError> {
        if depth > MAX_DEPTH {
            return Err(BtfError::TooDeep { id: self.root, limit: MAX_DEPTH });
        }
        self.count(1)?;
        let btf = self.btf;
        let id = btf.resolve(id)?;
        let ty = btf.get(id)?;
        let name = || btf.name_at(ty.name).map(str::to_owned);
        Ok(match &ty.kind {
            &BtfKind::Int { size, signed, char, bool, .. } => {
                let encoding = match (bool, char) {
                    (true, _) => IntEncoding::Bool,
                    // clang marks no character; an integer of one byte that is called so is one.
                    (_, true) => IntEncoding::Char,
                    _ if matches!(btf.name_at(ty.name)?, "char") => IntEncoding::Char,
                    _ => IntEncoding::Number,
                };
                TypeLayout::Int { size, signed, encoding }
            }
            &BtfKind::Float { size } => TypeLayout::Float { size },
            BtfKind::Pointer { .. } => TypeLayout::Pointer,
            &BtfKind::Array { element, len, .. } => {
                TypeLayout::Array { element: Box::new(self.layout(element, depth + 1)?), len }
            }
            &BtfKind::Variable { target, .. } => self.layout(target, depth + 1)?,
            BtfKind::Enum { size, signed, values } => {
                self.count(values.len())?;
                let values = values.iter().map(|v| Ok((btf.name_at(v.name)?.to_owned(), v.value)));
                TypeLayout::Enum {
                    name: name()?,
                    size: *size,
                    signed: *signed,
                    values: values.collect::<Result<_, BtfError>>()?,
                }
            }
            BtfKind::Struct { size, members } => {
                TypeLayout::Struct { name: name()?, size: *size, members: self.members(id, *size, members, depth)? }
            }
            BtfKind::Union { size, members } => {
                TypeLayout::Union { name: name()?, size: *size, members: self.members(id, *size, members, depth)? }
            }
            BtfKind::DataSection { size, variables } => {
                let mut members = Vec::new();
                for variable in variables {
                    let layout = self.layout(variable.type_id, depth + 1)?;
                    let bit_offset = variable.offset.checked_mul(8).ok_or(BtfError::TooLarge { id })?;
                    let member = LayoutMember {
                        name: btf.name(variable.type_id)?.to_owned(),
                        bit_offset,
                        bitfield_size: 0,
                        layout,
                    };
                    check(id, *size, &member)?;
                    members.push(member);
                }
                TypeLayout::Struct { name: name()?, size: *size, members }
            }
            kind => return Err(BtfError::NoSize { id, kind: kind.word() }),
        })
    }

    fn members(
        &mut self,
        id: TypeId,
        size: u32,
        members: &[Member],
        depth: usize,
    ) -> Result<Vec<LayoutMember>, BtfError> {
        let btf = self.btf;
        let mut out = Vec::new();
        for member in members {
            let name = btf.name_at(member.name)?;
            let layout = self.layout(member.type_id, depth + 1)?;
            match layout {
                TypeLayout::Struct { members: inner, size: inner_size, .. }
                | TypeLayout::Union { members: inner, size: inner_size, .. }
                    if name.is_empty() =>
                {
                    let whole = TypeLayout::Bytes { size: inner_size };
                    let place = LayoutMember {
                        name: String::new(),
                        bit_offset: member.bit_offset,
                        bitfield_size: 0,
                        layout: whole,
                    };
                    check(id, size, &place)?;
                    for mut inner in inner {
                        inner.bit_offset =
                            inner.bit_offset.checked_add(member.bit_offset).ok_or(BtfError::TooLarge { id })?;
                        out.push(inner);
                    }
                }
                // An unnamed bit field is padding: C cannot name it either.
                _ if name.is_empty() => {}
                layout => {
                    let (bit_offset, bitfield_size) = self.bits(member)?;
                    let member = LayoutMember { name: name.to_owned(), bit_offset, bitfield_size, layout };
                    check(id, size, &member)?;
                    out.push(member);
                }
            }
        }
        Ok(out)
    }

    /// Bit offset and width of a member. Old compilers put a bit field's width into its integer type.
    fn bits(&self, member: &Member) -> Result<(u32, u32), BtfError> {
        if member.bitfield_size == 0
            && let &BtfKind::Int { size, bits, bit_offset, .. } = &self.btf.get(self.btf.resolve(member.type_id)?)?.kind
            && u32::from(bits) != size * 8
        {
            let at =
                member.bit_offset.checked_add(bit_offset.into()).ok_or(BtfError::TooLarge { id: member.type_id })?;
            return Ok((at, bits.into()));
        }
        Ok((member.bit_offset, member.bitfield_size.into()))
    }
}

/// Refuses a member that does not lie within the `size` bytes of its structure.
fn check(id: TypeId, size: u32, member: &LayoutMember) -> Result<(), BtfError> {
    let whole = member.layout.size().saturating_mul(8);
    let (bits, aligned, fits) = match member.bitfield_size {
        0 => (whole, member.bit_offset.is_multiple_of(8), true),
        bits => (u64::from(bits), true, u64::from(bits) <= whole && whole <= 128),
    };
    if aligned && fits && u64::from(member.bit_offset) + bits <= u64::from(size) * 8 {
        return Ok(());
    }
    Err(BtfError::Member { id, member: member.name.clone(), bit_offset: member.bit_offset, bits, size })
}
