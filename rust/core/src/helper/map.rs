//! Helpers that work on entries of maps.

use std::ptr::NonNull;

use super::{Run, failed, wrong_map};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::map::{BPF_F_RDONLY_PROG, Holds, Map, MapKind, MapSpec};
use crate::memory::{Bytes, Window};

/// What a helper leaves in r0: 0, or the negative errno.
#[inline]
fn r0(map: &dyn Map, helper: u32, result: Result<(), Errno>) -> Result<u64, Box<Fault>> {
    match result {
        Ok(()) => Ok(0),
        Err(errno) => failed(map, helper, errno),
    }
}

/// The map in r1 of a helper that writes to it. Linux's verifier refuses such a call on a read-only map.
#[inline]
fn writable<'r>(run: &Run<'r>, handle: u64, helper: u32) -> Result<&'r dyn Map, Box<Fault>> {
    let map = run.map(handle, helper)?;
    if map.spec().flags & BPF_F_RDONLY_PROG != 0 {
        let what = format!("write into map forbidden: {} was created with BPF_F_RDONLY_PROG", map.spec().name);
        return Err(Box::new(Fault::Helper { id: helper, what }));
    }
    Ok(map)
}

/// Returns a value to the program, or null.
#[inline]
fn value(run: &mut Run<'_>, spec: &MapSpec, found: Option<NonNull<u8>>) -> u64 {
    let Some(value) = found else { return 0 };
    let start = value.as_ptr() as u64;
    let writable = spec.flags & BPF_F_RDONLY_PROG == 0;
    // SAFETY: a value that a map has handed out stays valid memory until the map is dropped (`Map`), and the run
    // borrows its maps for as long as its memory.
    unsafe { run.memory.expect_value(Window { start, len: spec.value_size.into(), writable }) };
    start
}

/// `bpf_map_lookup_elem(map, key)`: the value on this CPU, or null; of a map of maps, a map.
pub(super) fn lookup(run: &mut Run<'_>, [map, key, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(map, 1)?;
    let spec = map.spec();
    let key = run.memory.bytes(key, spec.key_size as usize)?;
    match map.lookup(run.host.cpu(), key) {
        None => missing(run, map, key),
        found => Ok(value(run, spec, found)),
    }
}

/// What a look-up returns that found no value: an inner map, or null.
#[cold]
fn missing(run: &mut Run<'_>, map: &dyn Map, key: Bytes<'_>) -> Result<u64, Box<Fault>> {
    match map.holds() {
        Holds::Maps(maps) => maps.inner(key).map_or(Ok(0), |inner| run.hand_out(inner.map)),
        Holds::Values if map.spec().key_size > 0 => Ok(0),
        _ => wrong_map(map, 1).map(|()| 0),
    }
}

/// `bpf_map_lookup_percpu_elem(map, key, cpu)`: the value on that CPU; null where there is no such CPU.
pub(super) fn lookup_percpu(run: &mut Run<'_>, [map, key, cpu, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(map, 195)?;
    let key = run.memory.bytes(key, map.spec().key_size as usize)?;
    if !map.spec().kind.is_per_cpu() {
        wrong_map(map, 195)?;
    }
    let cpu = cpu as u32;
    let found = if cpu < run.host.cpus() { map.lookup(cpu, key) } else { None };
    Ok(value(run, map.spec(), found))
}

/// `bpf_map_update_elem(map, key, value, flags)`.
pub(super) fn update(run: &mut Run<'_>, [map, key, value, flags, _]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = writable(run, map, 2)?;
    let key = run.memory.bytes(key, map.spec().key_size as usize)?;
    let value = run.memory.bytes(value, map.spec().value_size as usize)?;
    r0(map, 2, map.update(run.host.cpu(), key, value, flags))
}

/// `bpf_map_delete_elem(map, key)`.
pub(super) fn delete(run: &mut Run<'_>, [map, key, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = writable(run, map, 3)?;
    let key = run.memory.bytes(key, map.spec().key_size as usize)?;
    r0(map, 3, map.delete(key))
}

/// `bpf_map_push_elem(map, value, flags)`.
pub(super) fn push(run: &mut Run<'_>, [map, value, flags, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = writable(run, map, 87)?;
    let value = run.memory.bytes(value, map.spec().value_size as usize)?;
    r0(map, 87, map.push(value, flags))
}

/// `bpf_map_pop_elem(map, value)`.
pub(super) fn pop(run: &mut Run<'_>, [map, value, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = writable(run, map, 88)?;
    let value = run.memory.bytes_mut(value, map.spec().value_size as usize)?;
    r0(map, 88, map.pop(value, true))
}

/// `bpf_map_peek_elem(map, value)`: of a bloom filter, whether the value may be in it.
pub(super) fn peek(run: &mut Run<'_>, [map, value, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(map, 89)?;
    let size = map.spec().value_size as usize;
    if map.spec().kind == MapKind::BloomFilter {
        return r0(map, 89, map.contains(run.memory.bytes(value, size)?));
    }
    let value = run.memory.bytes_mut(value, size)?;
    r0(map, 89, map.pop(value, false))
}
