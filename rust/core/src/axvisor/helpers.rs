//! AxVisor's helper layer: what its helpers do at revision H of the hypervisor, where that can be done safely.
//!
//! Every failure is -1, never an errno. A looked-up value is a copy: what is stored into it is lost. The text that
//! `bpf_trace_printk` is given is not looked at. Helpers 100 to 102 can be called here; upstream has them and forgets
//! to register them.
//!
//! Safety goes before fidelity: AxVisor reads and writes at any address that a program hands to a helper. Here such
//! an address must be memory of the run (`bpf_probe_read` may also read what the bench has), or the run is stopped: in
//! the hypervisor that call is a page fault, or worse.

use super::copies::Copies;
use crate::errno::Errno;
use crate::fault::Fault;
use crate::helper::Run;
use crate::memory::Window;

/// What a helper of AxVisor's works on.
pub(super) struct Call<'a, 'r> {
    /// The run, as Linux's helpers have it.
    pub(super) run: &'a mut Run<'r>,
    /// Memory for what is looked up.
    pub(super) copies: &'a Copies,
    /// The buffer for names of tracepoints, one a run.
    pub(super) name: u64,
}

/// A helper: arguments r1 to r5 in, r0 out.
pub(super) type AxvisorFn = fn(&mut Call<'_, '_>, [u64; 5]) -> Result<u64, Box<Fault>>;

/// Failure, whatever the reason.
const FAILED: u64 = u64::MAX;
/// Bytes of the buffer that `get_tracepoint_name` returns.
pub(super) const NAME: usize = 64;
/// The most bytes that `bpf_probe_read` reads.
pub(super) const PROBE: u64 = 4096;

/// A helper that AxVisor has.
pub struct AxvisorHelper {
    /// The number that a `call` instruction has as its `imm`.
    pub id: u32,
    /// Its name there.
    pub name: &'static str,
    /// Whether it stores into memory that the program says.
    pub(super) stores: bool,
    pub(super) run: AxvisorFn,
}

/// `bpf_map_lookup_elem`.
pub(super) const LOOKUP: u32 = 1;

/// All helpers that AxVisor has, ascending by id.
pub const HELPERS: [AxvisorHelper; 12] = [
    AxvisorHelper { id: LOOKUP, name: "bpf_map_lookup_elem", stores: false, run: lookup },
    AxvisorHelper { id: 2, name: "bpf_map_update_elem", stores: false, run: update },
    AxvisorHelper { id: 3, name: "bpf_map_delete_elem", stores: false, run: delete },
    AxvisorHelper { id: 4, name: "bpf_probe_read", stores: true, run: probe_read },
    AxvisorHelper { id: 5, name: "bpf_ktime_get_ns", stores: false, run: |call, _| Ok(call.run.host.now()) },
    AxvisorHelper { id: 6, name: "bpf_trace_printk", stores: false, run: trace_printk },
    AxvisorHelper {
        id: 8,
        name: "bpf_get_smp_processor_id",
        stores: false,
        run: |call, _| Ok(u64::from(call.run.host.cpu())),
    },
    AxvisorHelper { id: 10, name: "get_tracepoint_name", stores: false, run: tracepoint_name },
    AxvisorHelper {
        id: 100,
        name: "get_current_vm_id",
        stores: false,
        run: |call, _| Ok(call.run.host.vm_context().vm_id.into()),
    },
    AxvisorHelper {
        id: 101,
        name: "get_current_vcpu_id",
        stores: false,
        run: |call, _| Ok(call.run.host.vm_context().vcpu_id.into()),
    },
    AxvisorHelper {
        id: 102,
        name: "get_exit_reason",
        stores: false,
        run: |call, _| Ok(call.run.host.vm_context().exit_reason),
    },
    AxvisorHelper { id: 113, name: "bpf_probe_read_kernel", stores: true, run: probe_read },
];

fn done(result: Result<(), Errno>) -> u64 {
    if result.is_ok() { 0 } else { FAILED }
}

fn lookup(call: &mut Call<'_, '_>, [map, key, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = call.run.map(map, 1)?;
    let key = call.run.memory.bytes(key, map.spec().key_size as usize)?;
    let Some(value) = map.lookup(call.run.host.cpu(), key) else { return Ok(0) };
    // SAFETY: a value that a map has handed out stays valid memory until the map is dropped, or, where it lends copies,
    // until the run has ended (`Map`); values are 8-aligned and padded to 8.
    let copy = unsafe { call.copies.copy(value, map.spec().value_size as usize, false, true) };
    let start = copy.ok_or_else(super::run::no_room)?;
    // SAFETY: the copy is memory of the run's.
    unsafe { call.run.memory.expect(Window { start, len: map.spec().value_size.into(), writable: true }) };
    Ok(start)
}

fn update(call: &mut Call<'_, '_>, [map, key, value, flags, _]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = call.run.map(map, 2)?;
    let key = call.run.memory.bytes(key, map.spec().key_size as usize)?;
    let value = call.run.memory.bytes(value, map.spec().value_size as usize)?;
    Ok(done(map.update(call.run.host.cpu(), key, value, flags)))
}

fn delete(call: &mut Call<'_, '_>, [map, key, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = call.run.map(map, 3)?;
    let key = call.run.memory.bytes(key, map.spec().key_size as usize)?;
    Ok(done(map.delete(key)))
}

fn probe_read(call: &mut Call<'_, '_>, [to, size, from, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    // The size is a u32, as in the prototype.
    let size = u64::from(size as u32);
    if size == 0 || size > PROBE {
        return Ok(FAILED);
    }
    let (memory, len) = (&mut call.run.memory, size as usize);
    let mut to = memory.bytes_mut(to, len)?;
    if memory.probeable(from, len) == len {
        let bytes = memory.probe(from, len)?.to_vec();
        to.fill_from(&bytes);
        return Ok(0);
    }
    let mut bytes = vec![0; len];
    if call.run.host.probe_read(from, &mut bytes).is_err() {
        let what = format!(
            "bpf_probe_read of {len} bytes at {}, where nothing is: AxVisor reads there without a check, which is a page \
             fault in the hypervisor",
            call.run.memory.describe(from)
        );
        return Err(Box::new(Fault::Helper { id: 4, what }));
    }
    to.fill_from(&bytes);
    Ok(0)
}

/// A number as AxVisor logs it; an address of the run's memory by its name, so that every run prints the same.
fn shown(call: &Call<'_, '_>, number: u64) -> String {
    if call.run.memory.readable(number, 1) > 0 { call.run.memory.describe(number) } else { format!("{number:#x}") }
}

fn trace_printk(call: &mut Call<'_, '_>, [a, b, c, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let line = if (call.name..call.name + NAME as u64).contains(&a) {
        let text = call.run.memory.bytes(call.name, NAME)?.to_vec();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        format!("{} {}", String::from_utf8_lossy(text), shown(call, b))
    } else {
        format!("{} {} {}", shown(call, a), shown(call, b), shown(call, c))
    };
    call.run.host.print(&line);
    Ok(0)
}

fn tracepoint_name(call: &mut Call<'_, '_>, [id, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let Some(name) = call.run.host.tracepoint_name(id as u32) else { return Ok(0) };
    let mut bytes = [0; NAME];
    for (byte, from) in bytes[..NAME - 1].iter_mut().zip(name.bytes()) {
        *byte = from;
    }
    call.run.memory.bytes_mut(call.name, NAME)?.fill_from(&bytes);
    Ok(call.name)
}

#[cfg(test)]
mod tests {
    use super::HELPERS;

    #[test]
    fn rows_ascend_by_id() {
        assert!(HELPERS.windows(2).all(|rows| rows[0].id < rows[1].id));
    }
}
