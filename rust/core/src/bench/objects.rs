//! What is in maps of maps and program arrays: maps and programs, by their numbers in the bench.

use std::sync::Arc;

use super::{Bench, BenchError, BenchMap, BenchProgram};
use crate::errno::Errno;
use crate::map::{Holds, Map, MapSet, Objects, Refusal, update_batch_by_number};
use crate::object::Object;
use crate::program::{Program, ProgramType};

/// A bench, and the maps and programs that it is about to get, whose numbers follow those that it has.
struct Known<'a> {
    bench: &'a Bench,
    maps: &'a [BenchMap],
    programs: &'a [BenchProgram],
}

impl Known<'_> {
    /// Numbers of the first map and the first program that come.
    fn first(&self) -> (usize, usize) {
        (self.bench.maps.borrow().len(), self.bench.programs.len())
    }
}

impl Objects for Known<'_> {
    fn map(&self, number: u32) -> Result<Arc<dyn Map>, Errno> {
        let (number, first) = (number as usize, self.first().0);
        let map = match number.checked_sub(first) {
            Some(coming) => self.maps.get(coming).map(|map| map.map.clone()),
            None => self.bench.map(number).map(|map| map.map.clone()),
        };
        map.ok_or(Errno::EBADF)
    }

    fn program(&self, number: u32) -> Result<(Option<ProgramType>, String), Errno> {
        let (number, first) = (number as usize, self.first().1);
        let program = match number.checked_sub(first) {
            Some(coming) => self.programs.get(coming),
            None => self.bench.programs.get(number),
        };
        let program = program.filter(|program| program.runnable().is_some()).ok_or(Errno::EBADF)?;
        Ok((program.program_type(), program.name().to_owned()))
    }
}

impl Bench {
    /// `BPF_MAP_UPDATE_ELEM`: of a map that holds maps or programs, the value is the number of one.
    ///
    /// # Errors
    /// Linux's errno, with what it does not say.
    ///
    /// # Safety
    /// `map` is one of this bench, be it still in it or not.
    pub unsafe fn update_map(&self, map: &dyn Map, key: &[u8], value: &[u8], flags: u64) -> Result<(), Refusal> {
        map.update_by_number(key, value, flags, &Known { bench: self, maps: &[], programs: &[] })
    }

    /// `BPF_MAP_UPDATE_BATCH`, with values as of [`Bench::update_map`]; how many were done, and why not all.
    ///
    /// # Errors
    /// Linux's errno, with what it does not say.
    ///
    /// # Safety
    /// As for [`Bench::update_map`].
    pub unsafe fn update_map_batch(
        &self,
        map: &dyn Map,
        entries: &[(&[u8], &[u8])],
        flags: u64,
    ) -> Result<(), (u32, Refusal)> {
        update_batch_by_number(map, entries, flags, &Known { bench: self, maps: &[], programs: &[] })
    }

    /// A program is about to use these maps: a program array among them is then for its type. As on Linux, tracing programs
    /// and socket filters may use no map whose values have spin locks, but for one that they look up in a map of maps.
    pub(super) fn admit(program: &Program, maps: &MapSet) -> Result<(), BenchError> {
        for map in &maps.0 {
            if let (Some(_), Some(program_type)) = (map.spin_lock(), program.program_type)
                && !program_type.may_lock()
            {
                let (program, map) = (program.name.clone(), map.spec().name.clone());
                return Err(BenchError::SpinLockType { program, map, program_type });
            }
            if let Holds::Programs(array) = map.holds()
                && let Err(owner) = array.admit(program.program_type)
            {
                let (map, program_type) = (map.spec().name.clone(), program.program_type);
                return Err(BenchError::ProgArrayType { program: program.name.clone(), map, program_type, owner });
            }
        }
        Ok(())
    }

    /// Puts what an object says into its maps of maps and program arrays, before it is in the bench.
    pub(super) fn fill(&self, object: &Object, maps: &[BenchMap], programs: &[BenchProgram]) -> Result<(), BenchError> {
        let known = Known { bench: self, maps, programs };
        let (first_map, first_program) = known.first();
        for (def, map) in object.maps.iter().zip(maps) {
            for (slot, name) in &def.values {
                let refused = |errno, why: String| BenchError::Entry {
                    object: object.file.clone(),
                    map: def.name.clone(),
                    slot: *slot,
                    name: name.clone(),
                    errno,
                    why,
                };
                let number = if let Holds::Programs(_) = map.map.holds() {
                    programs.iter().position(|program| program.name() == name).map(|place| first_program + place)
                } else {
                    maps.iter().position(|map| map.map.spec().name == *name).map(|place| first_map + place)
                };
                let number = number.and_then(|number| u32::try_from(number).ok());
                let number = number.ok_or_else(|| refused(Errno::EBADF, "it is not loaded".to_owned()))?;
                let put = map.map.update_by_number(&slot.to_le_bytes(), &number.to_le_bytes(), 0, &known);
                put.map_err(|Refusal { errno, why }| refused(errno, why.unwrap_or_else(|| errno.text().to_owned())))?;
            }
        }
        Ok(())
    }

    /// A program is gone: it is in no program array any more.
    pub(super) fn forget_program(&self, index: usize) {
        let Ok(number) = u32::try_from(index) else { return };
        let forget = |map: &dyn Map| {
            if let Holds::Programs(array) = map.holds() {
                array.forget(number);
            }
        };
        self.maps.borrow().iter().flatten().for_each(|map| forget(&*map.map));
        // An array that is no longer in the bench may still be used.
        for program in 0..self.programs.len() {
            if let Some(program) = self.programs.get(program) {
                program.maps().0.iter().for_each(|map| forget(&**map));
            }
        }
    }
}
