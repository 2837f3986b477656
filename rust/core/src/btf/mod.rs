//! BTF, the type information that clang writes into an object (kernel document `bpf/btf.rst`): reader, sizes,
//! layouts of values, C declarations, and the line table of `.BTF.ext`. There is no writer.

mod c;
mod error;
mod ext;
mod layout;
mod lock;
mod parse;
mod types;

pub use error::BtfError;
pub use ext::{BtfExt, CoreRelocation, ExtSection, FunctionInfo, LineInfo};
pub use layout::{IntEncoding, LayoutMember, TypeLayout};
pub use types::{BtfKind, BtfType, EnumValue, Linkage, Member, Parameter, SectionVariable, TypeId};

/// Longest chain of typedefs and qualifiers, and deepest nesting of arrays and structures, that is followed.
pub const MAX_DEPTH: usize = 32;
/// Longest name that is read, in bytes.
pub const MAX_NAME: usize = 1024;
/// Most types in one `.BTF`, the kernel's limit.
pub const MAX_TYPES: usize = 0x000f_ffff;

/// The types of one object.
#[derive(Clone, Debug)]
pub struct Btf {
    /// By id; 0 is `void`.
    types: Vec<BtfType>,
    /// The string table; bytes that are not UTF-8 have become `?`, so that offsets stay right.
    strings: Box<str>,
}

impl Btf {
    /// Reads the contents of a `.BTF` section.
    ///
    /// Ids between types are not checked here; what follows one answers [`BtfError::NoType`].
    ///
    /// # Errors
    /// Not BTF, big-endian, truncated, or of a kind that the format does not have.
    pub fn parse(data: &[u8]) -> Result<Btf, BtfError> {
        parse::parse(data)
    }

    /// The types with their ids, from 1.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, &BtfType)> {
        (0..).zip(&self.types).skip(1)
    }

    /// The type with an id; 0 is `void`.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, id: TypeId) -> Result<&BtfType, BtfError> {
        self.types.get(id as usize).ok_or(BtfError::NoType { id, last: self.types.len() as u32 - 1 })
    }

    /// The name of a type; empty where it has none.
    ///
    /// # Errors
    /// No such type, or a bad name.
    pub fn name(&self, id: TypeId) -> Result<&str, BtfError> {
        self.name_at(self.get(id)?.name)
    }

    /// The name at an offset of the string table.
    ///
    /// # Errors
    /// No string begins there, or it is longer than [`MAX_NAME`].
    pub fn name_at(&self, offset: u32) -> Result<&str, BtfError> {
        let rest = self.rest(offset)?;
        let bytes = &rest.as_bytes()[..rest.len().min(MAX_NAME + 1)];
        let end = bytes.iter().position(|&b| b == 0).ok_or(BtfError::LongName { offset, limit: MAX_NAME })?;
        Ok(&rest[..end])
    }

    /// The text at an offset of the string table, cut after at most [`MAX_NAME`] bytes.
    ///
    /// # Errors
    /// No string begins there.
    pub fn text_at(&self, offset: u32) -> Result<&str, BtfError> {
        let rest = self.rest(offset)?;
        let cut = rest.floor_char_boundary(MAX_NAME);
        let text = &rest[..cut];
        Ok(text.split_once('\0').map_or(text, |(text, _)| text))
    }

    fn rest(&self, offset: u32) -> Result<&str, BtfError> {
        self.strings
            .get(offset as usize..)
            .filter(|rest| !rest.is_empty())
            .ok_or(BtfError::NoString { offset, len: self.strings.len() })
    }

    /// Follows typedefs, qualifiers and type tags to the type that they name.
    ///
    /// # Errors
    /// No such type, or a chain of more than [`MAX_DEPTH`].
    pub fn resolve(&self, id: TypeId) -> Result<TypeId, BtfError> {
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            match self.get(at)?.kind {
                BtfKind::Typedef { target }
                | BtfKind::Volatile { target }
                | BtfKind::Const { target }
                | BtfKind::Restrict { target }
                | BtfKind::TypeTag { target } => at = target,
                _ => return Ok(at),
            }
        }
        Err(BtfError::TooDeep { id, limit: MAX_DEPTH })
    }

    /// Bytes of a value of a type (`sizeof`); of a variable, those of its type.
    ///
    /// # Errors
    /// The type has no size, is 4 GiB or larger, or nests too deeply.
    pub fn size_of(&self, id: TypeId) -> Result<u32, BtfError> {
        let mut count = 1_u64;
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            at = self.resolve(at)?;
            let kind = &self.get(at)?.kind;
            let size = match *kind {
                BtfKind::Array { element, len, .. } => {
                    count = count.checked_mul(u64::from(len)).ok_or(BtfError::TooLarge { id })?;
                    at = element;
                    continue;
                }
                BtfKind::Variable { target, .. } => {
                    at = target;
                    continue;
                }
                BtfKind::Pointer { .. } => 8,
                BtfKind::Int { size, .. }
                | BtfKind::Struct { size, .. }
                | BtfKind::Union { size, .. }
                | BtfKind::Enum { size, .. }
                | BtfKind::Float { size }
                | BtfKind::DataSection { size, .. } => size,
                _ => return Err(BtfError::NoSize { id: at, kind: kind.word() }),
            };
            return count
                .checked_mul(u64::from(size))
                .and_then(|bytes| u32::try_from(bytes).ok())
                .ok_or(BtfError::TooLarge { id });
        }
        Err(BtfError::TooDeep { id, limit: MAX_DEPTH })
    }

    /// The data sections (`.data`, `.maps`, …) by name.
    ///
    /// # Errors
    /// A name that cannot be read.
    pub fn data_section(&self, name: &str) -> Result<Option<(TypeId, &[SectionVariable])>, BtfError> {
        for (id, ty) in self.types() {
            if let BtfKind::DataSection { variables, .. } = &ty.kind
                && self.name_at(ty.name)? == name
            {
                return Ok(Some((id, variables)));
            }
        }
        Ok(None)
    }

    /// Sets the size of a data section and where its variables lie: compilers leave both to the linker.
    pub(crate) fn place_variables(&mut self, section: TypeId, bytes: u32, offsets: &[u32]) {
        if let Some(BtfType { kind: BtfKind::DataSection { size, variables }, .. }) =
            self.types.get_mut(section as usize)
        {
            *size = bytes;
            for (variable, &offset) in variables.iter_mut().zip(offsets) {
                variable.offset = offset;
            }
        }
    }
}
