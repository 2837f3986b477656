//! Where the values of a type have spin locks.

use super::{Btf, BtfError, BtfKind, MAX_DEPTH, TypeId};

/// The structure that is a spin lock, and its bytes (`linux/bpf.h`).
const NAME: &str = "bpf_spin_lock";
const SIZE: u32 = 4;
/// Most members that are looked at, so that nested structures cannot take for ever.
const MAX_MEMBERS: usize = 65_536;

impl Btf {
    /// Offsets, in bytes, of the spin locks in a value of a type; of a data section, in its variables.
    ///
    /// What counts was measured on Linux 6.18: a member of type `struct bpf_spin_lock`, also in a structure in a
    /// structure, or in an array of one element; not in a union, nor through a typedef or qualifier. The type itself may
    /// be named by a typedef, and is a structure.
    ///
    /// # Errors
    /// A type that is not there, or too many members.
    pub fn spin_locks(&self, id: TypeId) -> Result<Vec<u32>, BtfError> {
        let mut walk = LockWalk { btf: self, root: id, members: 0, found: Vec::new() };
        let id = self.resolve(id)?;
        match &self.get(id)?.kind {
            BtfKind::DataSection { variables, .. } => {
                for variable in variables {
                    if let &BtfKind::Variable { target, .. } = &self.get(variable.type_id)?.kind {
                        walk.visit(target, variable.offset, 0)?;
                    }
                }
            }
            // A value that is nothing but the lock is none to Linux.
            BtfKind::Struct { .. } => walk.members(id, 0, 0)?,
            _ => {}
        }
        Ok(walk.found)
    }
}

struct LockWalk<'b> {
    btf: &'b Btf,
    root: TypeId,
    members: usize,
    found: Vec<u32>,
}

impl LockWalk<'_> {
    /// Something at an offset: a lock, or what may have one.
    fn visit(&mut self, id: TypeId, at: u32, depth: usize) -> Result<(), BtfError> {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            match self.btf.get(id)?.kind {
                BtfKind::Array { element, len: 1, .. } => id = element,
                BtfKind::Struct { size: SIZE, .. } if self.btf.name(id)? == NAME => {
                    self.found.push(at);
                    return Ok(());
                }
                BtfKind::Struct { .. } if depth + 1 < MAX_DEPTH => return self.members(id, at, depth + 1),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn members(&mut self, id: TypeId, at: u32, depth: usize) -> Result<(), BtfError> {
        let BtfKind::Struct { members, .. } = &self.btf.get(id)?.kind else { return Ok(()) };
        self.members += members.len();
        if self.members > MAX_MEMBERS {
            return Err(BtfError::TooComplex { id: self.root, limit: MAX_MEMBERS });
        }
        for member in members {
            let offset = at.checked_add(member.bit_offset / 8).ok_or(BtfError::TooLarge { id: self.root })?;
            self.visit(member.type_id, offset, depth)?;
        }
        Ok(())
    }
}
