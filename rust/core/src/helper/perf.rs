//! Perf event arrays.

use super::{Run, failed};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::map::{Holds, MAX_DATA};

/// Id of `bpf_perf_event_output`.
const OUTPUT: u32 = 25;

/// `bpf_perf_event_output(ctx, map, flags, data, size)`: writes a record to the buffer of the CPU that `flags` name.
/// `EINVAL` for other flags, `E2BIG`, `ENOENT` and `EOPNOTSUPP` for a CPU that cannot be written to, `ENOSPC` where there
/// is no room, which counts the record as lost.
///
/// A record of more than 65516 bytes is a fault: Linux writes it with a length that its readers cannot use.
pub(super) fn output(run: &mut Run<'_>, [_, map, flags, data, size]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let map = run.map(map, OUTPUT)?;
    let Holds::Events(events) = map.holds() else { return failed(map, OUTPUT, Errno::EINVAL) };
    let data = run.memory.bytes(data, size as usize)?;
    if data.len() > MAX_DATA {
        let what =
            format!("a record of {size} bytes; with more than {MAX_DATA}, Linux writes one that nobody can read");
        return Err(Box::new(Fault::Helper { id: OUTPUT, what }));
    }
    Ok(events.output(run.host.cpu(), run.host.now(), flags, data).map_or_else(Errno::to_r0, |()| 0))
}
