//! What Linux's verifier says of the maps of a program, as far as it is known before there is a verifier.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::engine::EngineError;
use crate::helper::{KnownMaps, forbidden_maps, misused_maps};
use crate::map::{MapSet, MapSpec};
use crate::program::Program;

/// The maps of a program, which it hands to helpers that are for them.
struct Known<'a> {
    maps: &'a MapSet,
    /// What is in those that have been asked for.
    values: RefCell<HashMap<usize, Vec<u8>>>,
}

impl KnownMaps for Known<'_> {
    fn spec(&self, slot: usize) -> Option<&MapSpec> {
        self.maps.0.get(slot).map(|map| map.spec())
    }

    fn constant(&self, slot: usize, offset: u64, size: usize) -> Option<u64> {
        let mut values = self.values.borrow_mut();
        let value = values.entry(slot).or_insert_with(|| {
            let mut value = Vec::new();
            let found = self.maps.0.get(slot).and_then(|map| map.lookup_user(&[0; 4], 0, &mut value).ok());
            found.map_or_else(Vec::new, |()| value)
        });
        let start = usize::try_from(offset).ok()?;
        let bytes = value.get(start..start.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// Whether Linux lets programs of this type use the maps, and give them to the helpers that it does.
pub(super) fn check(program: &Program, maps: &MapSet) -> Result<(), EngineError> {
    let known = Known { maps, values: RefCell::default() };
    if let Some((insn, what)) = forbidden_maps(program, &known).into_iter().next() {
        return Err(EngineError::Map { insn, what });
    }
    match misused_maps(program, &known).into_iter().next() {
        Some((insn, source)) => Err(EngineError::Helper { insn, source }),
        None => Ok(()),
    }
}
