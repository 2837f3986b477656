//! Maps that a run has got out of maps of maps.

use std::collections::HashMap;
use std::sync::Arc;

use elsa::sync::FrozenVec;
use parking_lot::Mutex;

use super::{MAP_HANDLE_STRIDE, Run};
use crate::fault::Fault;
use crate::map::{Map, MapSet};
use crate::memory::{Region, Window};

/// What an inner map looks like to a program: `INNER_HANDLES + n * MAP_HANDLE_STRIDE`, where `n` of them were looked up
/// before it. Not an address of memory.
const INNER_HANDLES: u64 = 0xffff_a000_0000_0000;

/// The inner maps of a run: they live until it ends, whatever becomes of the entries that they were looked up at.
#[derive(Default)]
pub struct InnerMaps {
    maps: FrozenVec<Arc<dyn Map>>,
    /// Place of each map by its address, which it keeps while it is here.
    places: Mutex<HashMap<usize, usize>>,
}

impl InnerMaps {
    /// The handle of a map, the same each time.
    fn handle(&self, map: Arc<dyn Map>) -> u64 {
        let address = Arc::as_ptr(&map).cast::<()>() as usize;
        let place = *self.places.lock().entry(address).or_insert_with(|| self.maps.push_get_index(map));
        INNER_HANDLES + place as u64 * MAP_HANDLE_STRIDE
    }

    /// The map of a handle.
    fn get(&self, handle: u64) -> Option<&dyn Map> {
        let offset = handle.wrapping_sub(INNER_HANDLES);
        let place =
            usize::try_from(offset / MAP_HANDLE_STRIDE).ok().filter(|_| offset.is_multiple_of(MAP_HANDLE_STRIDE))?;
        self.maps.get(place)
    }

    /// All of them, the one looked up last first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &dyn Map> {
        (0..self.maps.len()).rev().filter_map(|place| self.maps.get(place))
    }
}

/// The memory of a run that looks up inner maps: that of its maps, and of those.
pub struct WithInner<'a> {
    /// Maps of the program.
    pub maps: &'a MapSet,
    /// Maps that it has looked up.
    pub inner: &'a InnerMaps,
}

impl Region for WithInner<'_> {
    fn window(&self, address: u64) -> Option<Window> {
        self.maps.window(address).or_else(|| self.inner.newest_first().find_map(|map| map.window(address)))
    }

    fn forbids(&self, address: u64, size: u64) -> Option<&'static str> {
        let inner = || self.inner.newest_first().find_map(|map| map.forbids(address, size));
        self.maps.forbids(address, size).or_else(inner)
    }

    fn describe(&self, address: u64) -> Option<String> {
        if let Some(map) = self.inner.get(address) {
            return Some(format!("the map {}", map.spec().name));
        }
        self.maps.describe(address).or_else(|| self.inner.newest_first().find_map(|map| map.describe(address)))
    }
}

impl<'r> Run<'r> {
    /// The inner map of a handle.
    #[cold]
    pub(super) fn inner_map(&self, handle: u64) -> Option<&'r dyn Map> {
        self.inner?.get(handle)
    }

    /// Whether a value that a helper returned is an inner map rather than memory.
    #[must_use]
    pub fn is_inner_map(&self, handle: u64) -> bool {
        self.inner_map(handle).is_some()
    }

    /// Hands an inner map to the program.
    ///
    /// # Errors
    /// [`Fault::Helper`] where the engine has not said that the program uses maps of maps.
    pub(super) fn hand_out(&self, map: Arc<dyn Map>) -> Result<u64, Box<Fault>> {
        match self.inner {
            Some(inner) => Ok(inner.handle(map)),
            None => Err(Box::new(Fault::Helper { id: 1, what: "this engine hands out no inner maps".to_owned() })),
        }
    }
}
