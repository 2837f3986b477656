//! The trie of a longest-prefix map: which prefixes there are, and which of them a key falls under.
//!
//! Nodes are numbered and lie in one vector. A node stands for a prefix: an entry's, or that of a branch, where two
//! prefixes part that no entry sits at. Its children have longer prefixes, and the next bit says which side they are on.
//! Every branch has two children, so that n entries make at most 2n - 1 nodes.
//!
//! The first 64 bits of a prefix are in its node, which for networks of IPv4 is all; the rest lies beside, in words.

use crate::errno::Errno;
use crate::memory::Bytes;

/// No node, no cell.
pub(super) const NONE: u32 = u32::MAX;
/// Bytes of a key before its bits.
pub(super) const LENGTH: usize = 4;

/// A prefix that is looked for: bytes of a key.
#[derive(Clone, Copy)]
pub(super) struct Prefix<'k> {
    /// How many bits count.
    pub len: u32,
    /// The first 64 bits.
    head: u64,
    bits: Bytes<'k>,
}

impl<'k> Prefix<'k> {
    /// The prefix in a key: how many bits count, then the bits. None where the key has no room for as many.
    #[inline]
    pub(super) fn new(key: Bytes<'k>) -> Option<Prefix<'k>> {
        let (len, bits) = key.split_at(LENGTH)?;
        let len = len.as_u32().filter(|len| *len as usize <= bits.len() * 8)?;
        Some(Prefix { len, head: word(bits, 0), bits })
    }

    /// Bits 64n to 64n + 63.
    fn word(&self, n: usize) -> u64 {
        if n == 0 { self.head } else { word(self.bits, n) }
    }
}

/// Eight bytes of bits, the first bit highest; zero behind their end.
#[inline]
fn word(bits: Bytes<'_>, n: usize) -> u64 {
    let at = 8 * n;
    if let Some(word) = bits.be_u64_at(at) {
        return word;
    }
    (0..8).fold(0, |word, k| word << 8 | u64::from(bits.get(at + k).unwrap_or(0)))
}

#[derive(Clone, Copy)]
struct Node {
    children: [u32; 2],
    /// Bits of the prefix.
    len: u32,
    /// Where the entry's key and value are; none for a branch.
    cell: u32,
    /// The first 64 bits, those behind the prefix too.
    head: u64,
}

/// Where a node hangs: the parent and the side, or at the root.
#[derive(Clone, Copy)]
struct Link {
    parent: u32,
    side: usize,
}

const ROOT: Link = Link { parent: NONE, side: 0 };

/// How far down a prefix leads: the node where it ends or parts, or the place where it would hang.
struct Place {
    node: u32,
    /// Bits that the prefix shares with the node's.
    common: u32,
    link: Link,
    /// Where the parent hangs.
    above: Link,
}

/// Where an insertion has found its place.
pub(super) enum Slot {
    /// The prefix is an entry's already.
    Entry(Held),
    /// There is none.
    Vacant(Vacant),
}

/// An entry's node.
pub(super) struct Held(u32);
/// The place of a prefix that is not there.
pub(super) struct Vacant(Place);

/// The trie.
pub(super) struct Prefixes {
    nodes: Vec<Node>,
    /// What nodes have of their prefixes behind 64 bits: `words` of each.
    tails: Vec<u64>,
    words: usize,
    /// Nodes that are no longer used.
    free: Vec<u32>,
    root: u32,
}

impl Prefixes {
    /// None yet; prefixes have at most `bytes` bytes.
    pub(super) fn new(bytes: usize) -> Prefixes {
        let words = bytes.div_ceil(8) - 1;
        Prefixes { nodes: Vec::new(), tails: Vec::new(), words, free: Vec::new(), root: NONE }
    }

    #[inline]
    fn node(&self, node: u32) -> &Node {
        &self.nodes[node as usize]
    }

    fn tail(&self, node: u32) -> &[u64] {
        &self.tails[node as usize * self.words..][..self.words]
    }

    /// The bit behind the first `n` of a node.
    fn bit(&self, node: u32, n: u32) -> usize {
        let word = if n < 64 { self.node(node).head } else { self.tail(node)[n as usize / 64 - 1] };
        (word >> (63 - n % 64) & 1) as usize
    }

    /// How many bits a prefix shares with that of a node.
    #[inline]
    fn common(&self, node: u32, prefix: &Prefix<'_>) -> u32 {
        let Node { len, head, .. } = *self.node(node);
        let limit = len.min(prefix.len);
        let differ = head ^ prefix.head;
        if differ != 0 || limit <= 64 {
            return differ.leading_zeros().min(limit);
        }
        let tail = self.tail(node).iter().zip(1..).map(|(word, n)| word ^ prefix.word(n)).zip((64..).step_by(64));
        let parted = tail.take_while(|(_, before)| *before < limit).find(|(differ, _)| *differ != 0);
        parted.map_or(limit, |(differ, before)| (before + differ.leading_zeros()).min(limit))
    }

    /// The side of a node's children that a prefix longer than the node's is on.
    #[inline]
    fn side(&self, node: &Node, prefix: &Prefix<'_>) -> usize {
        (prefix.word(node.len as usize / 64) >> (63 - node.len % 64) & 1) as usize
    }

    /// The cell of the longest prefix that a prefix falls under.
    #[inline]
    pub(super) fn longest(&self, prefix: &Prefix<'_>) -> Option<u32> {
        let (mut found, mut at) = (NONE, self.root);
        while at != NONE {
            let node = self.node(at);
            if self.common(at, prefix) < node.len {
                break;
            }
            if node.cell != NONE {
                found = node.cell;
            }
            if node.len == prefix.len {
                break;
            }
            at = node.children[self.side(node, prefix)];
        }
        (found != NONE).then_some(found)
    }

    /// Follows a prefix down; `visit` gets every node on the way.
    fn descend(&self, prefix: &Prefix<'_>, mut visit: impl FnMut(u32)) -> Place {
        let mut place = Place { node: self.root, common: 0, link: ROOT, above: ROOT };
        while place.node != NONE {
            visit(place.node);
            let node = self.node(place.node);
            place.common = self.common(place.node, prefix);
            if place.common < node.len || node.len == prefix.len {
                break;
            }
            let side = self.side(node, prefix);
            place.above = place.link;
            place.link = Link { parent: place.node, side };
            place.node = node.children[side];
        }
        place
    }

    /// Whether a place is the node of this very prefix.
    fn is_exact(&self, place: &Place, prefix: &Prefix<'_>) -> bool {
        place.node != NONE && place.common == prefix.len && self.node(place.node).len == prefix.len
    }

    /// Where a prefix is, or belongs. There is room for it then.
    pub(super) fn find(&mut self, prefix: &Prefix<'_>) -> Result<Slot, Errno> {
        let place = self.descend(prefix, |_| ());
        if self.is_exact(&place, prefix) && self.node(place.node).cell != NONE {
            return Ok(Slot::Entry(Held(place.node)));
        }
        // A leaf and a branch at most, and room to free all nodes.
        let out_of_memory = |_| Errno::ENOMEM;
        self.nodes.try_reserve(2).map_err(out_of_memory)?;
        self.tails.try_reserve(2 * self.words).map_err(out_of_memory)?;
        self.free.try_reserve(self.nodes.len() + 2 - self.free.len()).map_err(out_of_memory)?;
        Ok(Slot::Vacant(Vacant(place)))
    }

    /// The cell of an entry.
    pub(super) fn cell(&self, held: &Held) -> u32 {
        self.node(held.0).cell
    }

    /// Gives an entry another cell, and the bits behind its prefix that the key has.
    pub(super) fn replace(&mut self, held: &Held, prefix: &Prefix<'_>, cell: u32) {
        self.nodes[held.0 as usize].cell = cell;
        self.set_bits(held.0, prefix);
    }

    /// Adds an entry at the place that `find` has given last.
    pub(super) fn insert(&mut self, Vacant(place): Vacant, prefix: &Prefix<'_>, cell: u32) {
        if self.is_exact(&place, prefix) {
            return self.replace(&Held(place.node), prefix, cell);
        }
        let leaf = self.add(Node { children: [NONE; 2], len: prefix.len, cell, head: 0 });
        self.set_bits(leaf, prefix);
        if place.node == NONE {
            self.hang(place.link, leaf);
        } else if place.common == prefix.len {
            // Above the node: what the node has behind the prefix says on which side.
            let side = self.bit(place.node, prefix.len);
            self.nodes[leaf as usize].children[side] = place.node;
            self.hang(place.link, leaf);
        } else {
            let side = self.bit(leaf, place.common);
            let mut children = [place.node; 2];
            children[side] = leaf;
            let head = self.node(place.node).head;
            let branch = self.add(Node { children, len: place.common, cell: NONE, head });
            let from = place.node as usize * self.words;
            self.tails.copy_within(from..from + self.words, branch as usize * self.words);
            self.hang(place.link, branch);
        }
    }

    /// Takes an entry out; its cell, if there was one.
    pub(super) fn remove(&mut self, prefix: &Prefix<'_>) -> Option<u32> {
        let place = self.descend(prefix, |_| ());
        let exact = self.is_exact(&place, prefix) && self.node(place.node).cell != NONE;
        let Node { children, cell, .. } = *self.node(exact.then_some(place.node)?);
        match children {
            [NONE, NONE] => {
                let Link { parent, side } = place.link;
                if parent != NONE && self.node(parent).cell == NONE {
                    // A branch with one child left is none.
                    self.hang(place.above, self.node(parent).children[1 - side]);
                    self.free.push(parent);
                } else {
                    self.hang(place.link, NONE);
                }
                self.free.push(place.node);
            }
            [only, NONE] | [NONE, only] => {
                self.hang(place.link, only);
                self.free.push(place.node);
            }
            _ => self.nodes[place.node as usize].cell = NONE,
        }
        Some(cell)
    }

    fn hang(&mut self, Link { parent, side }: Link, node: u32) {
        match parent {
            NONE => self.root = node,
            parent => self.nodes[parent as usize].children[side] = node,
        }
    }

    fn add(&mut self, node: Node) -> u32 {
        if let Some(free) = self.free.pop() {
            self.nodes[free as usize] = node;
            return free;
        }
        self.nodes.push(node);
        self.tails.resize(self.nodes.len() * self.words, 0);
        self.nodes.len() as u32 - 1
    }

    fn set_bits(&mut self, node: u32, prefix: &Prefix<'_>) {
        self.nodes[node as usize].head = prefix.head;
        for n in 0..self.words {
            self.tails[node as usize * self.words + n] = prefix.word(n + 1);
        }
    }

    /// A walk over all entries, children first, the side of 0 before that of 1 (Linux's order of `next_key`).
    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { prefixes: self, path: Vec::new(), fresh: true }
    }

    /// A walk over the entries behind a prefix; over all of them where there is no entry of it.
    pub(super) fn walk_behind(&self, prefix: &Prefix<'_>) -> Walk<'_> {
        let mut path = Vec::new();
        let place = self.descend(prefix, |node| path.push(node));
        if self.is_exact(&place, prefix) && self.node(place.node).cell != NONE {
            Walk { prefixes: self, path, fresh: false }
        } else {
            self.walk()
        }
    }
}

/// Cells of entries, in order.
pub(super) struct Walk<'p> {
    prefixes: &'p Prefixes,
    /// From the root to the node given last.
    path: Vec<u32>,
    /// Whether none was given yet.
    fresh: bool,
}

impl Walk<'_> {
    /// Follows first children down from a node.
    fn sink(&mut self, mut node: u32) {
        while node != NONE {
            self.path.push(node);
            let [zero, one] = self.prefixes.node(node).children;
            node = if zero == NONE { one } else { zero };
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            if std::mem::take(&mut self.fresh) {
                self.sink(self.prefixes.root);
            } else {
                let node = self.path.pop()?;
                let [zero, one] = self.prefixes.node(*self.path.last()?).children;
                if zero == node {
                    self.sink(one);
                }
            }
            let cell = self.prefixes.node(*self.path.last()?).cell;
            if cell != NONE {
                return Some(cell);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    #[test]
    fn n_entries_take_2n_less_1_nodes_at_most() {
        let mut prefixes = Prefixes::new(2);
        let (mut entries, mut random) = (0, 1_u32);
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = [(random >> 8) as u8 % 17, 0, 0, 0, (random >> 16) as u8 & 0xc1, (random >> 24) as u8 & 0x81];
            let prefix = Prefix::new(Bytes::from(&key[..])).expect("a prefix");
            if random & 0x80 == 0 {
                if let Ok(Slot::Vacant(vacant)) = prefixes.find(&prefix) {
                    prefixes.insert(vacant, &prefix, 0);
                    entries += 1;
                }
            } else if prefixes.remove(&prefix).is_some() {
                entries -= 1;
            }
            let used = prefixes.nodes.len() - prefixes.free.len();
            assert!(used < (2 * entries).max(1), "{used} nodes for {entries} entries");
            assert_eq!(prefixes.walk().count(), entries);
        }
    }
}
