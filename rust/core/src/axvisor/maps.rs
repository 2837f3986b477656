//! kbpf-basic's maps, as a bench has maps.
//!
//! Everything that a map answers is kbpf-basic's answer. What is ours makes it safe:
//!
//! - Looked-up values are copies ([`super::cells`]): kbpf-basic frees values that a program still points to.
//! - Sizes at which kbpf-basic would panic, or ask the allocator for memory that there is not (which ends the
//!   process), are refused with `ENOMEM`: an array of more than 4 GiB, whose size it works out in 32 bits; an LRU hash
//!   or a queue whose table, made at once, is larger than [`MAX_BYTES`] or than what the allocator has; and keys and
//!   values of more than 64 MiB.
//! - An entry that there is no memory for, or more than [`MAX_BYTES`] of them, is the errno `ENOMEM`: kbpf-basic would end the
//!   process.
//! - A panic inside kbpf-basic is the errno `ENOTRECOVERABLE`.
//! - An address that is no reserved record is not handed to its ring buffer, which would take it for one.
//! - It leaves the walk over a map to a C callback of its own; here a walk is over a list of the keys made before.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::Arc;

use kbpf_basic::linux_bpf::bpf_attr;
use kbpf_basic::map::{BpfMapMeta, UnifiedMap, bpf_map_create};
use parking_lot::Mutex;

use super::cells::Cells;
use super::ops::{Kernel, NoPerCpu, NobodyWaits, guarded, last_mapped};
use super::ring::Ring;
use crate::errno::Errno;
use crate::map::{BPF_EXIST, BPF_F_RDONLY_PROG, MAX_BYTES, Map, MapError, MapKind, MapSpec, Visit};
use crate::memory::{Arena, Bytes, BytesMut, Region, Window};

/// The kinds that AxVisor's loader takes.
pub const KINDS: [MapKind; 5] = [MapKind::Array, MapKind::Hash, MapKind::LruHash, MapKind::Queue, MapKind::RingBuf];

/// The largest key and value, in bytes: several copies of them are made on their way.
const MOST: u32 = 64 << 20;

/// Creates a map of kbpf-basic. Who runs programs over it tells it when ([`super::Lending`]).
///
/// # Errors
/// [`MapError::NotOnAxvisor`] for other kinds than [`KINDS`], [`MapError::NotByKbpf`] with kbpf-basic's errno,
/// [`MapError::KbpfMemory`] where it would panic or end the process.
pub fn create(spec: MapSpec) -> Result<Arc<dyn Map>, MapError> {
    if !KINDS.contains(&spec.kind) {
        let kinds = KINDS.map(MapKind::name).join(", ");
        return Err(MapError::NotOnAxvisor { map: spec.name, kind: spec.kind, kinds });
    }
    check_memory(&spec)?;
    let refused = |errno| MapError::NotByKbpf { map: spec.name.clone(), spec: Box::new(spec.clone()), errno };
    // SAFETY: all bytes zero is a value of the union: numbers, and addresses that are numbers.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.__bindgen_anon_1.map_type = spec.kind as u32;
    attr.__bindgen_anon_1.key_size = spec.key_size;
    attr.__bindgen_anon_1.value_size = spec.value_size;
    attr.__bindgen_anon_1.max_entries = spec.max_entries;
    attr.__bindgen_anon_1.map_flags = spec.flags;
    let map = guarded(|| {
        let meta = BpfMapMeta::try_from(&attr)?;
        bpf_map_create::<Kernel, NoPerCpu>(meta, Some(Arc::new(NobodyWaits)))
    });
    let map = map.map_err(refused)?;
    let ring = (spec.kind == MapKind::RingBuf).then(|| Ring::new(last_mapped(), spec.max_entries));
    // A data section, whose address the loader puts into programs, is an array of one entry.
    let pinned = spec.kind == MapKind::Array && spec.max_entries == 1;
    Ok(Arc::new(KbpfMap {
        spec,
        state: Mutex::new(State { map, cells: Cells::new(pinned), ring, entries: 0, unseen: SEEN_AFTER }),
    }))
}

/// Bytes that kbpf-basic would ask for at once.
fn at_once(spec: &MapSpec) -> u64 {
    let entries = u64::from(spec.max_entries);
    match spec.kind {
        MapKind::Array => u64::from(spec.value_size) * entries,
        // The table of an LRU: two pointers and a byte a bucket, an eighth of which stay free.
        MapKind::LruHash => (entries * 8 / 7 + 1).next_power_of_two() * 17,
        MapKind::Queue => entries * size_of::<Vec<u8>>() as u64,
        MapKind::RingBuf => entries * 2,
        _ => 0,
    }
}

fn check_memory(spec: &MapSpec) -> Result<(), MapError> {
    let too_large =
        |what, bytes, limit| MapError::KbpfMemory { map: spec.name.clone(), kind: spec.kind, what, bytes, limit };
    for (what, bytes) in [("the key", spec.key_size), ("the value", spec.value_size)] {
        if bytes > MOST {
            return Err(too_large(what, bytes.into(), MOST.into()));
        }
    }
    let bytes = at_once(spec);
    // kbpf-basic works out the size of an array in 32 bits.
    let limit = if spec.kind == MapKind::Array { u64::from(u32::MAX) } else { MAX_BYTES };
    // The memory is asked for once to see whether it is there: kbpf-basic cannot be told that it is not.
    let fits = bytes <= limit && usize::try_from(bytes).is_ok_and(|bytes| Arena::new(bytes).is_ok());
    if fits { Ok(()) } else { Err(too_large("the size", bytes, limit)) }
}

struct State {
    map: UnifiedMap,
    cells: Cells,
    ring: Option<Ring>,
    /// Bytes that the entries take, or more than those.
    entries: u64,
    /// Bytes that were taken since it was last seen that there are more.
    unseen: usize,
}

/// Bytes after which it is seen whether there are more, which takes a while.
const SEEN_AFTER: usize = 256 << 10;
/// Bytes of an entry besides key and value, about.
const BESIDES: usize = 128;

/// A copy of a value, which may be larger than what there is.
fn copied(bytes: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| Errno::ENOMEM)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// A map of kbpf-basic.
struct KbpfMap {
    spec: MapSpec,
    state: Mutex<State>,
}

/// Keys and values that a walk has met.
#[derive(Default)]
struct Walk {
    keys: Vec<u8>,
    values: Vec<u8>,
    entries: usize,
    /// Where to stop.
    until: Option<Vec<u8>>,
    /// Whether there was no memory for all of them.
    cut: bool,
}

/// What kbpf-basic calls for each entry; `context` is the walk.
fn step(key: &[u8], value: &[u8], context: *const u8) -> i32 {
    // SAFETY: only `State::walk` hands this function over, with its own walk, which lives until kbpf-basic is done.
    let walk = unsafe { &*context.cast::<RefCell<Walk>>() };
    let mut walk = walk.borrow_mut();
    if walk.until.as_deref() == Some(key) {
        return 1;
    }
    let room = walk.keys.try_reserve(key.len()).and_then(|()| walk.values.try_reserve(value.len()));
    if room.is_err() {
        walk.cut = true;
        return 1;
    }
    walk.keys.extend_from_slice(key);
    walk.values.extend_from_slice(value);
    walk.entries += 1;
    0
}

impl State {
    /// Entries in kbpf-basic's order, up to the key `until`. Promotes nothing in an LRU.
    fn walk(&mut self, until: Option<Vec<u8>>) -> Result<Walk, Errno> {
        let walk = RefCell::new(Walk { until, ..Walk::default() });
        guarded(|| self.map.map_mut().for_each_elem(step, std::ptr::from_ref(&walk).cast(), 0))?;
        let walk = walk.into_inner();
        if walk.cut { Err(Errno::ENOMEM) } else { Ok(walk) }
    }

    /// Sees whether there is memory for an entry of so many bytes: kbpf-basic cannot be told that there is not.
    fn afford(&mut self, bytes: usize) -> Result<(), Errno> {
        let more = (bytes + BESIDES) as u64;
        if self.entries + more > MAX_BYTES {
            // Some of what was counted has replaced others since.
            self.entries = guarded(|| self.map.map().map_mem_usage())? as u64;
        }
        if self.entries + more > MAX_BYTES {
            return Err(Errno::ENOMEM);
        }
        self.unseen = self.unseen.saturating_add(bytes + BESIDES);
        if self.unseen >= SEEN_AFTER {
            // As much again before the next look, and the copies that are made of one entry on its way.
            let next = Vec::<u8>::new().try_reserve_exact(4 * (SEEN_AFTER + bytes));
            next.map_err(|_| Errno::ENOMEM)?;
            self.unseen = 0;
        }
        self.entries += more;
        Ok(())
    }

    /// The values of a queue, the oldest first. kbpf-basic has no walk through one, so each is taken out and put back
    /// behind the others.
    fn turn(&mut self, entries: usize, value_size: usize) -> Result<Walk, Errno> {
        let mut walk = Walk { entries, ..Walk::default() };
        walk.values.try_reserve_exact(entries.saturating_mul(value_size)).map_err(|_| Errno::ENOMEM)?;
        self.afford(value_size)?;
        let mut value = vec![0; value_size];
        for _ in 0..entries {
            guarded(|| self.map.map_mut().pop_elem(&mut value))?;
            guarded(|| self.map.map_mut().push_elem(&value, 0))?;
            walk.values.extend_from_slice(&value);
        }
        Ok(walk)
    }

    /// Takes over what programs have stored into looked-up values.
    fn settle(&mut self, spec: &MapSpec) {
        for (key, value) in self.cells.changed() {
            // A queue's oldest entry, or a value that is gone, keeps its memory and nothing else.
            let _gone = match spec.kind {
                MapKind::LruHash => self.store_in_lru(&key, &value, spec.key_size as usize),
                MapKind::Array | MapKind::Hash => guarded(|| self.map.map_mut().update_elem(&key, &value, BPF_EXIST)),
                _ => Ok(()),
            };
        }
    }

    /// Stores a value of an LRU hash without making it the most recently used one, as a store by pointer does not:
    /// an update promotes it, so that those which were more recent are then used again in their order.
    fn store_in_lru(&mut self, key: &[u8], value: &[u8], key_size: usize) -> Result<(), Errno> {
        let recent = self.walk(Some(key.to_vec()))?;
        guarded(|| self.map.map_mut().update_elem(key, value, BPF_EXIST))?;
        for key in recent.keys.rchunks_exact(key_size.max(1)) {
            guarded(|| self.map.map_mut().lookup_elem(key).map(|_| ()))?;
        }
        Ok(())
    }
}

impl KbpfMap {
    /// Does something with the map once what was stored into looked-up values is in it.
    fn settled<T>(&self, work: impl FnOnce(&mut State) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.state.lock();
        state.settle(&self.spec);
        work(&mut state)
    }

    fn afford(&self, bytes: usize) -> Result<(), Errno> {
        self.state.lock().afford(bytes)
    }

    fn update_bytes(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.settled(|state| {
            guarded(|| state.map.map_mut().update_elem(key, value, flags))?;
            state.cells.set(key, value);
            Ok(())
        })
    }

    fn ring<T>(&self, work: impl FnOnce(&mut Ring, &mut UnifiedMap) -> Result<T, Errno>) -> Result<T, Errno> {
        let State { map, ring, .. } = &mut *self.state.lock();
        work(ring.as_mut().ok_or(Errno::EINVAL)?, map)
    }

    fn writable(&self) -> bool {
        self.spec.flags & BPF_F_RDONLY_PROG == 0
    }
}

impl Region for KbpfMap {
    fn window(&self, address: u64) -> Option<Window> {
        let state = self.state.lock();
        if let Some((start, len)) = state.ring.as_ref().and_then(|ring| ring.find(address)) {
            return Some(Window { start, len, writable: true });
        }
        let (start, len, _) = state.cells.find(address)?;
        Some(Window { start, len, writable: self.writable() })
    }

    fn describe(&self, address: u64) -> Option<String> {
        let (name, state) = (&self.spec.name, self.state.lock());
        if let Some((start, _)) = state.ring.as_ref().and_then(|ring| ring.find(address)) {
            return Some(format!("{name}[record]+{}", address - start));
        }
        let (start, _, key) = state.cells.find(address)?;
        let key = match key.len() {
            0 => "oldest".to_owned(),
            1..=8 => format!("{:#x}", key.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))),
            _ => "value".to_owned(),
        };
        Some(format!("{name}[{key}]+{}", address - start))
    }
}

impl Map for KbpfMap {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn lookup(&self, _cpu: u32, key: Bytes<'_>) -> Option<NonNull<u8>> {
        let key = key.to_vec();
        let found = self.settled(|state| {
            let State { map, cells, .. } = state;
            let value = guarded(|| Ok(map.map_mut().lookup_elem(&key)?.map(copied)))?.transpose()?;
            value.map(|value| cells.lend(&key, &value)).transpose()
        });
        found.ok().flatten()
    }

    fn update(&self, _cpu: u32, key: Bytes<'_>, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        self.afford(key.len() + value.len())?;
        self.update_bytes(&key.to_vec(), &value.to_vec(), flags)
    }

    fn delete(&self, key: Bytes<'_>) -> Result<(), Errno> {
        self.delete_user(&key.to_vec())
    }

    fn push(&self, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        self.afford(value.len())?;
        let value = value.to_vec();
        guarded(|| self.state.lock().map.map_mut().push_elem(&value, flags))
    }

    fn pop(&self, mut out: BytesMut<'_>, remove: bool) -> Result<(), Errno> {
        let mut value = vec![0; out.len()];
        let taken = guarded(|| {
            let map = &mut self.state.lock().map;
            if remove { map.map_mut().pop_elem(&mut value) } else { map.map().peek_elem(&mut value) }
        });
        if taken != Err(Errno::EPERM) {
            out.fill_from(&value);
        }
        taken
    }

    fn for_each(&self, _cpu: u32, visit: &mut Visit<'_>) -> Result<u64, Errno> {
        let (key_size, value_size) = (self.spec.key_size as usize, self.spec.value_size as usize);
        // All of them are lent at once, so that what is changed on the way is seen.
        let (walk, values) = self.settled(|state| {
            let walk = state.walk(None)?;
            let entries = walk.keys.chunks_exact(key_size).zip(walk.values.chunks_exact(value_size));
            let lent = entries.map(|(key, value)| state.cells.lend(key, value)).collect::<Result<Vec<_>, _>>()?;
            Ok((walk, lent))
        })?;
        let mut visited = 0;
        for (key, value) in walk.keys.chunks_exact(key_size).zip(values) {
            visited += 1;
            if visit(Bytes::from(key), value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(visited)
    }

    fn reserve(&self, size: u64) -> Result<NonNull<u8>, Errno> {
        let record = self.ring(|ring, map| ring.reserve(map, size))?;
        NonNull::new(record as *mut u8).ok_or(Errno::EAGAIN)
    }

    fn commit(&self, record: u64, flags: u64, discard: bool) -> Result<(), Errno> {
        self.ring(|ring, _| ring.commit(record, flags, discard))
    }

    fn query(&self, what: u64) -> u64 {
        self.ring(|ring, map| Ok(ring.query(map, what))).unwrap_or(0)
    }

    fn lookup_user(&self, key: &[u8], _flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.settled(|state| {
            let value = guarded(|| Ok(state.map.map_mut().lookup_elem(key)?.map(copied)))?.transpose()?;
            let value = value.ok_or(Errno::ENOENT)?;
            out.try_reserve(value.len()).map_err(|_| Errno::ENOMEM)?;
            out.extend_from_slice(&value);
            Ok(())
        })
    }

    fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.afford(key.len() + value.len())?;
        self.update_bytes(key, value, flags)
    }

    fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
        self.settled(|state| guarded(|| state.map.map_mut().delete_elem(key)))
    }

    fn lookup_and_delete_user(&self, key: &[u8], _flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        let mut value = vec![0; self.spec.value_size as usize];
        self.settled(|state| guarded(|| state.map.map_mut().lookup_and_delete_elem(key, &mut value)))?;
        out.extend_from_slice(&value);
        Ok(())
    }

    fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
        let mut next = vec![0; self.spec.key_size as usize];
        guarded(|| self.state.lock().map.map().get_next_key(key, &mut next))?;
        out.extend_from_slice(&next);
        Ok(())
    }

    /// Of an array it says yes and changes nothing, of others no: kbpf-basic freezes no map.
    fn freeze(&self) -> Result<(), Errno> {
        guarded(|| self.state.lock().map.map().freeze())
    }

    fn dump_user(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno> {
        let entries = if self.spec.kind == MapKind::Queue { self.len() } else { 0 };
        let mut walk = self.settled(|state| match self.spec.kind {
            MapKind::Queue => state.turn(entries, self.spec.value_size as usize),
            _ => state.walk(None),
        })?;
        keys.append(&mut walk.keys);
        values.append(&mut walk.values);
        Ok(walk.entries)
    }

    fn len(&self) -> usize {
        let state = self.state.lock();
        if let Some(ring) = &state.ring {
            return ring.len();
        }
        let entry = match self.spec.kind {
            MapKind::Array => return self.spec.max_entries as usize,
            _ => self.spec.key_size as usize + self.spec.value_size as usize,
        };
        guarded(|| state.map.map().map_mem_usage()).unwrap_or(0) / entry.max(1)
    }

    fn begin_run(&self) {
        self.state.lock().cells.begin_run();
    }

    fn end_run(&self) {
        let mut state = self.state.lock();
        state.settle(&self.spec);
        state.cells.end_run();
    }

    fn record_sizes_user(&self, out: &mut Vec<u32>) -> Result<(), Errno> {
        match &self.state.lock().ring {
            Some(ring) => out.extend(ring.sizes()),
            None => return Err(Errno::ENOTSUPP),
        }
        Ok(())
    }

    fn consume_user(&self, out: &mut Vec<u8>) -> Result<bool, Errno> {
        match &mut self.state.lock().ring {
            Some(ring) => Ok(ring.consume(out)),
            None => Err(Errno::ENOTSUPP),
        }
    }
}
