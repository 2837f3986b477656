//! The order of use of the entries of an LRU hash: a doubly linked list by slot.
//!
//! Exact: what is driven out is the entry used least recently. (Linux approximates: see `lru_linux`.) Look-ups of
//! programs and updates of either side are uses; look-ups of bpf(2) are not.

use crate::errno::Errno;

/// The end of the list, in both directions.
const END: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
}

/// The list.
pub(super) struct Lru {
    links: Vec<Link>,
    newest: u32,
    oldest: u32,
}

impl Lru {
    /// An empty list with room for `limit` slots.
    pub(super) fn new(limit: u32) -> Result<Lru, Errno> {
        let mut links = Vec::new();
        links.try_reserve_exact(limit as usize).map_err(|_| Errno::ENOMEM)?;
        Ok(Lru { links, newest: END, oldest: END })
    }

    /// The slot used least recently.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != END).then_some(self.oldest)
    }

    /// A slot that is not in the list becomes the one used last. Slots come into use in ascending order.
    #[inline]
    pub(super) fn insert(&mut self, slot: u32) {
        let link = Link { newer: END, older: self.newest };
        match self.links.get_mut(slot as usize) {
            Some(place) => *place = link,
            None => self.links.push(link),
        }
        match self.newest {
            END => self.oldest = slot,
            newest => self.links[newest as usize].newer = slot,
        }
        self.newest = slot;
    }

    /// Takes a slot out of the list.
    #[inline]
    pub(super) fn remove(&mut self, slot: u32) {
        let Link { newer, older } = self.links[slot as usize];
        match newer {
            END => self.newest = older,
            newer => self.links[newer as usize].older = older,
        }
        match older {
            END => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
    }

    /// A slot in the list becomes the one used last.
    #[inline]
    pub(super) fn touch(&mut self, slot: u32) {
        if self.newest != slot {
            self.renew(slot);
        }
    }

    #[inline(never)]
    fn renew(&mut self, slot: u32) {
        self.remove(slot);
        self.insert(slot);
    }
}
