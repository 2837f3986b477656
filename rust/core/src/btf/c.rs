//! Types as C declares them. Alignment attributes are not printed: BTF does not keep them.

use std::fmt::Write as _;

use super::{Btf, BtfError, BtfKind, MAX_DEPTH, Member, TypeId};

/// Longest declaration that is written, in bytes.
const MAX_TEXT: usize = 1 << 20;

impl Btf {
    /// The C definition of a structure, union or enumeration (`struct key { u32 vm_id; };`, a member a line), the
    /// declaration of a typedef, variable or function, or the name of any other type.
    ///
    /// Named types that a member refers to stand as their names; anonymous ones are written out.
    ///
    /// # Errors
    /// Types that do not exist or nest more than [`MAX_DEPTH`] deep, or a text of more than 1 MiB.
    pub fn c_declaration(&self, id: TypeId) -> Result<String, BtfError> {
        let ty = self.get(id)?;
        let writer = Writer { btf: self, root: id };
        match &ty.kind {
            BtfKind::Struct { .. } | BtfKind::Union { .. } | BtfKind::Enum { .. } => {
                Ok(format!("{};", writer.body(id, 0)?))
            }
            BtfKind::Typedef { target } => {
                Ok(format!("typedef {};", writer.declare(*target, self.name(id)?.to_owned(), 0)?))
            }
            BtfKind::Variable { target, .. } | BtfKind::Function { prototype: target, .. } => {
                Ok(format!("{};", writer.declare(*target, self.name(id)?.to_owned(), 0)?))
            }
            _ => writer.declare(id, String::new(), 0),
        }
    }
}

struct Writer<'b> {
    btf: &'b Btf,
    root: TypeId,
}

impl Writer<'_> {
    fn too_deep(&self) -> BtfError {
        BtfError::TooDeep { id: self.root, limit: MAX_DEPTH }
    }

    fn fits(&self, text: &str) -> Result<(), BtfError> {
        if text.len() > MAX_TEXT {
            return Err(BtfError::TooComplex { id: self.root, limit: MAX_TEXT });
        }
        Ok(())
    }

    /// `declarator` as something of type `id`: C writes a type from the name outwards.
    fn declare(&self, id: TypeId, mut declarator: String, depth: usize) -> Result<String, BtfError> {
        if depth > MAX_DEPTH {
            return Err(self.too_deep());
        }
        let btf = self.btf;
        let mut at = id;
        let mut qualifiers = String::new();
        for _ in 0..MAX_DEPTH {
            self.fits(&declarator)?;
            let ty = btf.get(at)?;
            match &ty.kind {
                BtfKind::Const { target } => {
                    qualifiers.push_str("const ");
                    at = *target;
                }
                BtfKind::Volatile { target } => {
                    qualifiers.push_str("volatile ");
                    at = *target;
                }
                BtfKind::Restrict { target } => {
                    qualifiers.push_str("restrict ");
                    at = *target;
                }
                BtfKind::TypeTag { target } => at = *target,
                BtfKind::Pointer { target } => {
                    declarator = format!("*{}{declarator}", std::mem::take(&mut qualifiers));
                    at = *target;
                }
                BtfKind::Array { element, len, .. } => {
                    if declarator.starts_with('*') {
                        declarator = format!("({declarator})");
                    }
                    let _ = write!(declarator, "[{len}]");
                    at = *element;
                }
                BtfKind::Prototype { result, parameters } => {
                    if declarator.starts_with('*') {
                        declarator = format!("({declarator})");
                    }
                    declarator.push('(');
                    for (n, parameter) in parameters.iter().enumerate() {
                        let text = match (parameter.type_id, parameter.name) {
                            (0, 0) => "...".to_owned(),
                            (ty, name) => self.declare(ty, btf.name_at(name)?.to_owned(), depth + 1)?,
                        };
                        declarator.push_str(if n == 0 { "" } else { ", " });
                        declarator.push_str(&text);
                        self.fits(&declarator)?;
                    }
                    declarator.push_str(if parameters.is_empty() { "void)" } else { ")" });
                    at = *result;
                }
                _ => {
                    let base = self.base(at, depth)?;
                    let space = if declarator.is_empty() { "" } else { " " };
                    return Ok(format!("{qualifiers}{base}{space}{declarator}"));
                }
            }
        }
        Err(self.too_deep())
    }

    /// The word or words that a declaration begins with.
    fn base(&self, id: TypeId, depth: usize) -> Result<String, BtfError> {
        let name = self.btf.name(id)?;
        let ty = self.btf.get(id)?;
        Ok(match &ty.kind {
            BtfKind::Void => "void".to_owned(),
            BtfKind::Struct { .. } | BtfKind::Union { .. } | BtfKind::Enum { .. } if name.is_empty() => {
                self.body(id, depth)?
            }
            BtfKind::Struct { .. } | BtfKind::Forward { union: false } => format!("struct {name}"),
            BtfKind::Union { .. } | BtfKind::Forward { union: true } => format!("union {name}"),
            BtfKind::Enum { .. } => format!("enum {name}"),
            _ => name.to_owned(),
        })
    }

    /// `struct name { … }` and the like.
    fn body(&self, id: TypeId, depth: usize) -> Result<String, BtfError> {
        if depth > MAX_DEPTH {
            return Err(self.too_deep());
        }
        let name = self.btf.name(id)?;
        let space = if name.is_empty() { "" } else { " " };
        let indent = "\t".repeat(depth + 1);
        let mut text = String::new();
        let word = match &self.btf.get(id)?.kind {
            BtfKind::Struct { members, .. } => {
                self.members(&mut text, members, &indent, depth)?;
                "struct"
            }
            BtfKind::Union { members, .. } => {
                self.members(&mut text, members, &indent, depth)?;
                "union"
            }
            BtfKind::Enum { size, signed, values } => {
                for value in values {
                    let name = self.btf.name_at(value.name)?;
                    let _ = match (signed, size) {
                        (false, 8) => writeln!(text, "{indent}{name} = {}ULL,", value.value as u64),
                        _ => writeln!(text, "{indent}{name} = {},", value.value),
                    };
                    self.fits(&text)?;
                }
                "enum"
            }
            _ => return self.base(id, depth),
        };
        Ok(format!("{word}{space}{name} {{\n{text}{}}}", "\t".repeat(depth)))
    }

    fn members(&self, text: &mut String, members: &[Member], indent: &str, depth: usize) -> Result<(), BtfError> {
        for member in members {
            let name = self.btf.name_at(member.name)?.to_owned();
            let declaration = self.declare(member.type_id, name, depth + 1)?;
            let _ = match member.bitfield_size {
                0 => writeln!(text, "{indent}{declaration};"),
                bits => writeln!(text, "{indent}{declaration}: {bits};"),
            };
            self.fits(text)?;
        }
        Ok(())
    }
}
