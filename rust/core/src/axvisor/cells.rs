//! Values of a map of kbpf-basic at addresses that stay.
//!
//! kbpf-basic moves and frees its values whenever the map changes. So a program that looks a value up gets a *cell*: a
//! copy at an address of its own, one for each key, until the run has ended. The map takes over what was stored into
//! its cells before it does anything else ([`Cells::changed`]), and tells them what it has changed ([`Cells::set`]).

use std::collections::{BTreeMap, HashMap};
use std::ptr::NonNull;

use crate::errno::Errno;
use crate::map::{read_value, write_value};
use crate::memory::Arena;

/// The copy of one value.
struct Cell {
    key: Vec<u8>,
    arena: Arena,
    /// What the map holds.
    known: Vec<u8>,
}

impl Cell {
    fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.known.len());
        // SAFETY: an arena is aligned, and `Cells::lend` has made it long enough for the value rounded up to 8.
        unsafe { read_value(self.arena.as_ptr(), self.known.len(), &mut bytes) };
        bytes
    }

    fn write(&mut self, value: &[u8]) {
        self.known.copy_from_slice(value);
        // SAFETY: as above; the slice is not the arena's, which is reached by raw pointers only.
        unsafe { write_value(self.arena.as_ptr(), value.as_ptr(), value.len()) };
    }
}

/// The cells of a map.
pub(super) struct Cells {
    cells: Vec<Cell>,
    by_key: HashMap<Vec<u8>, usize>,
    by_address: BTreeMap<u64, usize>,
    /// Runs that may hold addresses of cells.
    runs: usize,
    /// Whether cells stay when the runs have ended.
    pinned: bool,
}

impl Cells {
    pub(super) fn new(pinned: bool) -> Cells {
        Cells { cells: Vec::new(), by_key: HashMap::new(), by_address: BTreeMap::new(), runs: 0, pinned }
    }

    /// A run begins that may look values up.
    pub(super) fn begin_run(&mut self) {
        self.runs += 1;
    }

    /// A run has ended. The last one lets go of all cells.
    pub(super) fn end_run(&mut self) {
        self.runs = self.runs.saturating_sub(1);
        if self.runs == 0 && !self.pinned && !self.cells.is_empty() {
            self.cells.clear();
            self.by_key.clear();
            self.by_address.clear();
        }
    }

    /// Lends the value of a key, which the map holds as `value`.
    pub(super) fn lend(&mut self, key: &[u8], value: &[u8]) -> Result<NonNull<u8>, Errno> {
        let index = match self.by_key.get(key) {
            Some(&index) => index,
            None => {
                let arena = Arena::new(value.len().next_multiple_of(8))?;
                let index = self.cells.len();
                self.by_address.insert(arena.address(), index);
                self.by_key.insert(key.to_vec(), index);
                let known = vec![0; value.len()];
                self.cells.push(Cell { key: key.to_vec(), arena, known });
                index
            }
        };
        let cell = self.cells.get_mut(index).ok_or(Errno::EFAULT)?;
        cell.write(value);
        NonNull::new(cell.arena.as_ptr()).ok_or(Errno::EFAULT)
    }

    /// The map holds another value for a key now.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) {
        if let Some(cell) = self.by_key.get(key).and_then(|&index| self.cells.get_mut(index))
            && cell.known.len() == value.len()
        {
            cell.write(value);
        }
    }

    /// Keys and values of the cells that a program has stored to since the last time, in the order of the lookups.
    pub(super) fn changed(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut changed = Vec::new();
        for cell in &mut self.cells {
            let now = cell.read();
            if now != cell.known {
                cell.known.copy_from_slice(&now);
                changed.push((cell.key.clone(), now));
            }
        }
        changed
    }

    /// The cell around an address: its first address, its length, its key.
    pub(super) fn find(&self, address: u64) -> Option<(u64, u64, &[u8])> {
        let (&start, &index) = self.by_address.range(..=address).next_back()?;
        let cell = self.cells.get(index)?;
        let len = cell.known.len() as u64;
        (address - start < len).then_some((start, len, &cell.key))
    }
}
