//! Program array: what `bpf_tail_call` jumps to, by index.
//!
//! It holds the numbers of programs. Its first program, be it one that is put there or one that was loaded to use it,
//! is its owner: from then on it is for programs of that type only, and stays so when it is empty again.

use std::sync::OnceLock;

use crate::errno::Errno;
use crate::map::numbered::{NoObjects, Numbered, Objects, Refusal, no_memory, numbered_map};
use crate::map::{Holds, Map, MapSpec};
use crate::memory::{Region, Window};
use crate::program::ProgramType;

/// A program array.
pub struct ProgArray {
    array: Numbered<u32>,
    /// The type of its programs, once there is an owner.
    owner: OnceLock<Option<ProgramType>>,
}

impl ProgArray {
    pub(super) fn new(spec: MapSpec) -> ProgArray {
        ProgArray { array: Numbered::new(spec), owner: OnceLock::new() }
    }

    /// The number of the program at an index; none where that is out of range or empty.
    #[must_use]
    pub fn program(&self, index: u32) -> Option<u32> {
        self.array.with(index, |number| *number)
    }

    /// Numbers of all programs in it.
    #[must_use]
    pub fn programs(&self) -> Vec<u32> {
        self.array.all(|number| *number)
    }

    /// The type of its programs; none before its first.
    #[must_use]
    pub fn owner(&self) -> Option<Option<ProgramType>> {
        self.owner.get().copied()
    }

    /// A program of this type is to use it or be in it: the first one makes it an array for that type.
    ///
    /// # Errors
    /// The type that it is for.
    pub fn admit(&self, program_type: Option<ProgramType>) -> Result<(), Option<ProgramType>> {
        let owner = *self.owner.get_or_init(|| program_type);
        if owner == program_type { Ok(()) } else { Err(owner) }
    }

    /// Empties all entries of a program that is gone, whoever may write to it.
    pub fn forget(&self, program: u32) {
        self.array.forget(|number| *number == program);
    }
}

/// What a person calls a type of program.
fn name(program_type: Option<ProgramType>) -> &'static str {
    program_type.map_or("no type", ProgramType::name)
}

no_memory!(ProgArray);

impl Map for ProgArray {
    numbered_map!();

    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe { self.array.set_alone(alone) };
    }

    fn len(&self) -> usize {
        self.array.len()
    }

    fn holds(&self) -> Holds<'_> {
        Holds::Programs(self)
    }

    fn update_by_number(&self, key: &[u8], value: &[u8], flags: u64, objects: &dyn Objects) -> Result<(), Refusal> {
        let admitted = |number: u32| {
            let (program_type, program) = objects.program(number)?;
            self.admit(program_type).map(|()| number).map_err(|owner| {
                let of = name(program_type);
                let why = format!("{program} is of type {of}; this array is for programs of type {}", name(owner));
                Refusal { errno: Errno::EINVAL, why: Some(why) }
            })
        };
        self.array.update(key, value, flags, admitted).map(drop)
    }

    fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.array.lookup(key, flags, out, |number| *number)
    }

    fn dump_user(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.array.dump(keys, values, |number| *number)
    }
}
