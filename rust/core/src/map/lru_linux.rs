//! Linux's order of use of the entries of an LRU hash: approximate, and evicted in batches.
//!
//! The rules follow the kernel's document `bpf/map_hash.rst` and what Linux 6.18 was seen to do; `tests/map_oracle`
//! compares survivors. Each entry has a node with one bit, whether it was used. New entries wait on a list of their CPU
//! and come to a shared *inactive* list when that CPU needs nodes; used ones move to an *active* list. A CPU that is
//! out of free nodes takes a batch of them, and where there are too few, evicts from the old end of the inactive list.
//! With `BPF_F_NO_COMMON_LRU` each CPU has an equal part of the nodes, with lists of its own and no waiting.

use crate::errno::Errno;

/// No node, or no slot.
const NONE: u32 = u32::MAX;
/// The most nodes that a CPU takes from the shared lists at once.
const BATCH: u32 = 128;
/// Nodes that a CPU evicts at once from lists of its own.
const OWN_BATCH: u32 = 4;

/// The lists that a node can be on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Free, of a hub.
    Free,
    /// Of a hub, not used lately.
    Inactive,
    /// Of a hub, used lately.
    Active,
    /// Free, of a CPU.
    LocalFree,
    /// New, of a CPU.
    Pending,
}

/// A node, or the head of a list: a ring, in which `older` of the head is the newest node, and `newer` the oldest.
#[derive(Clone, Copy)]
struct Node {
    newer: u32,
    older: u32,
    slot: u32,
    cpu: u32,
    place: Place,
    used: bool,
}

/// Active and inactive nodes, and free ones: one hub for the map, or one a CPU.
struct Hub {
    /// Heads.
    free: u32,
    inactive: u32,
    active: u32,
    /// Nodes on the two lists.
    inactive_len: u32,
    active_len: u32,
    /// Where the next look for used nodes on the inactive list begins: a node of it, or its head.
    cursor: u32,
    /// Free nodes that were never used, and are on no list.
    unused: u32,
}

/// What a CPU keeps for itself where the hub is shared.
struct Local {
    /// Heads.
    free: u32,
    pending: u32,
    /// CPU from which it takes a node next when the hub has none.
    victim: u32,
}

/// The order of use of one map.
pub(super) struct LinuxLru {
    /// Heads first.
    nodes: Vec<Node>,
    /// Nodes by slot.
    node_of: Vec<u32>,
    hubs: Vec<Hub>,
    /// By CPU; empty where each has a hub.
    locals: Vec<Local>,
    /// Nodes that are taken in one step.
    batch: u32,
    /// Nodes of one list that are looked at in one step.
    scans: u32,
    /// Slots whose entries have lost their nodes and are to end.
    evicted: Vec<u32>,
}

impl LinuxLru {
    /// For `limit` entries, shared by the CPUs or dealt out to them.
    pub(super) fn new(limit: u32, cpus: u32, shared: bool) -> Result<LinuxLru, Errno> {
        let cpus = cpus.max(1);
        let (hubs, locals) = if shared { (1, cpus) } else { (cpus, 0) };
        let heads = hubs as usize * 3 + locals as usize * 2;
        let out_of_memory = |_| Errno::ENOMEM;
        let mut lru = LinuxLru {
            nodes: Vec::new(),
            node_of: Vec::new(),
            hubs: Vec::new(),
            locals: Vec::new(),
            batch: if shared { (limit / cpus / 2).clamp(1, BATCH) } else { OWN_BATCH },
            scans: if shared { BATCH } else { OWN_BATCH },
            evicted: Vec::new(),
        };
        lru.nodes.try_reserve_exact(limit as usize + heads).map_err(out_of_memory)?;
        lru.node_of.try_reserve_exact(limit as usize).map_err(out_of_memory)?;
        lru.hubs.try_reserve_exact(hubs as usize).map_err(out_of_memory)?;
        lru.locals.try_reserve_exact(locals as usize).map_err(out_of_memory)?;
        lru.evicted.try_reserve_exact(lru.batch as usize).map_err(out_of_memory)?;
        for _ in 0..hubs {
            let (free, inactive, active) = (lru.head(), lru.head(), lru.head());
            let unused = limit / hubs;
            lru.hubs.push(Hub { free, inactive, active, inactive_len: 0, active_len: 0, cursor: inactive, unused });
        }
        for victim in 0..locals {
            let (free, pending) = (lru.head(), lru.head());
            lru.locals.push(Local { free, pending, victim });
        }
        Ok(lru)
    }

    /// The head of a new list. Before there are nodes.
    fn head(&mut self) -> u32 {
        let head = self.nodes.len() as u32;
        self.nodes.push(Node { newer: head, older: head, slot: NONE, cpu: 0, place: Place::Free, used: false });
        head
    }

    /// A node for an entry that a program on `cpu` adds or changes. [`LinuxLru::evicted`] has the slots of the entries
    /// that had to make room.
    pub(super) fn take(&mut self, cpu: u32) -> Option<u32> {
        let node = if self.locals.is_empty() { self.take_own(cpu)? } else { self.take_shared(cpu)? };
        self.nodes[node as usize].cpu = cpu;
        Some(node)
    }

    /// The slots of the entries that the last [`LinuxLru::take`] has driven out.
    pub(super) fn next_evicted(&mut self) -> Option<u32> {
        self.evicted.pop()
    }

    /// Gives a node that was taken to an entry.
    pub(super) fn bind(&mut self, node: u32, slot: u32) {
        let place = slot as usize;
        if self.node_of.len() <= place {
            self.node_of.resize(place + 1, NONE);
        }
        self.node_of[place] = node;
        self.nodes[node as usize].slot = slot;
    }

    /// Gives the entry of a slot the node that was taken for its change, used.
    pub(super) fn exchange(&mut self, node: u32, slot: u32) {
        self.remove(slot);
        self.bind(node, slot);
        self.touch(slot);
    }

    /// An entry has been used.
    #[inline]
    pub(super) fn touch(&mut self, slot: u32) {
        let node = self.node_of[slot as usize];
        self.nodes[node as usize].used = true;
    }

    /// An entry ends; one that was evicted has no node any more.
    pub(super) fn remove(&mut self, slot: u32) {
        let node = std::mem::replace(&mut self.node_of[slot as usize], NONE);
        if node != NONE {
            self.give_back(node);
        }
    }

    /// Frees a node.
    pub(super) fn give_back(&mut self, node: u32) {
        let Node { cpu, place, .. } = self.nodes[node as usize];
        self.nodes[node as usize].slot = NONE;
        match self.locals.get(cpu as usize) {
            Some(local) if place == Place::Pending => self.put(node, local.free, Place::LocalFree),
            Some(_) => self.shift(0, node, Place::Free),
            None => self.shift(cpu as usize, node, Place::Free),
        }
    }

    /// From the lists of the CPU.
    fn take_own(&mut self, cpu: u32) -> Option<u32> {
        let hub = cpu as usize;
        self.rotate(hub);
        let head = self.hubs.get(hub)?.free;
        if self.hubs[hub].unused == 0 && self.oldest(head).is_none() {
            self.shrink(hub, self.batch, head, Place::Free);
        }
        let node = self.any_free(hub)?;
        self.shift(hub, node, Place::Inactive);
        Some(node)
    }

    /// From the CPU's free nodes, or the hub's, or another CPU's.
    fn take_shared(&mut self, cpu: u32) -> Option<u32> {
        let Local { free, pending, .. } = *self.locals.get(cpu as usize)?;
        if self.newest(free).is_none() {
            self.refill(free, pending);
        }
        let node = match self.newest(free) {
            Some(node) => node,
            None => self.steal(cpu)?,
        };
        self.put(node, pending, Place::Pending);
        Some(node)
    }

    /// A batch of nodes for a CPU: what it has added goes to the hub first.
    fn refill(&mut self, free: u32, pending: u32) {
        while let Some(node) = self.oldest(pending) {
            let place = if self.nodes[node as usize].used { Place::Active } else { Place::Inactive };
            self.shift(0, node, place);
        }
        self.rotate(0);
        let mut got = 0;
        while got < self.batch {
            let Some(node) = self.any_free(0) else { break };
            self.put(node, free, Place::LocalFree);
            got += 1;
        }
        if got < self.batch {
            self.shrink(0, self.batch - got, free, Place::LocalFree);
        }
    }

    /// A free node of a hub.
    fn any_free(&mut self, hub: usize) -> Option<u32> {
        let Hub { free, unused, .. } = self.hubs[hub];
        if unused == 0 {
            return self.newest(free);
        }
        self.hubs[hub].unused -= 1;
        let node = self.head();
        Some(node)
    }

    /// A node of another CPU: a free one, else the oldest that waits there and was not used, else the oldest.
    fn steal(&mut self, cpu: u32) -> Option<u32> {
        let cpus = self.locals.len() as u32;
        let first = self.locals[cpu as usize].victim;
        let mut at = first;
        let found = loop {
            let Local { free, pending, .. } = self.locals[at as usize];
            let found = self.newest(free).or_else(|| {
                let unused = self.oldest_first(pending).find(|node| !self.nodes[*node as usize].used);
                unused.or_else(|| self.oldest(pending))
            });
            at = (at + 1) % cpus;
            if found.is_some() || at == first {
                break found;
            }
        };
        self.locals[cpu as usize].victim = at;
        if let Some(node) = found {
            self.evict(node);
        }
        found
    }

    /// Sorts the old ends of a hub's lists: used nodes become active, unused ones inactive.
    fn rotate(&mut self, hub: usize) {
        let Hub { inactive_len, active_len, .. } = self.hubs[hub];
        if inactive_len < active_len {
            self.rotate_active(hub);
        }
        self.rotate_inactive(hub);
    }

    fn rotate_active(&mut self, hub: usize) {
        let Some(last) = self.newest(self.hubs[hub].active) else { return };
        for _ in 0..self.scans {
            let Some(node) = self.oldest(self.hubs[hub].active) else { return };
            let place = if self.nodes[node as usize].used { Place::Active } else { Place::Inactive };
            self.shift(hub, node, place);
            if node == last {
                return;
            }
        }
    }

    /// Looks at as many nodes as a batch has, from where the last look ended.
    fn rotate_inactive(&mut self, hub: usize) {
        let Hub { inactive, cursor, .. } = self.hubs[hub];
        if self.oldest(inactive).is_none() {
            return;
        }
        let mut last = self.nodes[cursor as usize].older;
        if last == inactive {
            last = self.nodes[last as usize].older;
        }
        let (mut at, mut next) = (cursor, inactive);
        let mut seen = 0;
        while seen < self.scans {
            if at == inactive {
                at = self.nodes[at as usize].newer;
                continue;
            }
            next = self.nodes[at as usize].newer;
            if self.nodes[at as usize].used {
                self.shift(hub, at, Place::Active);
            }
            if at == last {
                break;
            }
            at = next;
            seen += 1;
        }
        self.hubs[hub].cursor = next;
    }

    /// Evicts unused nodes from the old end of the inactive list, up to `wanted`, and makes the used ones on the way
    /// active; where all that were looked at are used, the oldest of all.
    fn shrink(&mut self, hub: usize, wanted: u32, to: u32, place: Place) {
        let mut got = 0;
        for _ in 0..self.scans {
            let Some(node) = self.oldest(self.hubs[hub].inactive) else { break };
            if self.nodes[node as usize].used {
                self.shift(hub, node, Place::Active);
                continue;
            }
            self.drop_to(hub, node, to, place);
            got += 1;
            if got == wanted {
                return;
            }
        }
        if got == 0 {
            let Hub { inactive, active, .. } = self.hubs[hub];
            if let Some(node) = self.oldest(inactive).or_else(|| self.oldest(active)) {
                self.drop_to(hub, node, to, place);
            }
        }
    }

    /// Evicts a node of a hub, to a list of free ones.
    fn drop_to(&mut self, hub: usize, node: u32, to: u32, place: Place) {
        self.evict(node);
        self.leave(hub, node);
        self.put(node, to, place);
    }

    /// Ends the entry of a node, if it has one.
    fn evict(&mut self, node: u32) {
        let slot = std::mem::replace(&mut self.nodes[node as usize].slot, NONE);
        if slot != NONE {
            self.node_of[slot as usize] = NONE;
            self.evicted.push(slot);
        }
    }

    /// Moves a node to the new end of a list of a hub.
    fn shift(&mut self, hub: usize, node: u32, place: Place) {
        self.leave(hub, node);
        let Hub { free, inactive, active, inactive_len, active_len, .. } = &mut self.hubs[hub];
        let head = match place {
            Place::Inactive => {
                *inactive_len += 1;
                *inactive
            }
            Place::Active => {
                *active_len += 1;
                *active
            }
            _ => *free,
        };
        self.put(node, head, place);
    }

    /// What a hub has to know of a node that is about to leave one of its lists.
    fn leave(&mut self, hub: usize, node: u32) {
        let Node { newer, place, .. } = self.nodes[node as usize];
        let Hub { inactive_len, active_len, cursor, .. } = &mut self.hubs[hub];
        match place {
            Place::Inactive => *inactive_len -= 1,
            Place::Active => *active_len -= 1,
            _ => {}
        }
        if *cursor == node {
            *cursor = newer;
        }
    }

    /// Moves a node to the new end of a list, unused.
    fn put(&mut self, node: u32, head: u32, place: Place) {
        let Node { newer, older, .. } = self.nodes[node as usize];
        self.nodes[newer as usize].older = older;
        self.nodes[older as usize].newer = newer;
        let next = self.nodes[head as usize].older;
        let entry = &mut self.nodes[node as usize];
        (entry.newer, entry.older, entry.place, entry.used) = (head, next, place, false);
        self.nodes[next as usize].newer = node;
        self.nodes[head as usize].older = node;
    }

    fn newest(&self, head: u32) -> Option<u32> {
        let node = self.nodes[head as usize].older;
        (node != head).then_some(node)
    }

    fn oldest(&self, head: u32) -> Option<u32> {
        let node = self.nodes[head as usize].newer;
        (node != head).then_some(node)
    }

    fn oldest_first(&self, head: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(self.oldest(head), move |node| {
            let next = self.nodes[*node as usize].newer;
            (next != head).then_some(next)
        })
    }
}
