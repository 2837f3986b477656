//! Helpers that call a function of the program again and again. `Code::call` limits their depth and instructions.

use std::ops::ControlFlow;

use super::{Run, failed};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::memory::Window;

/// Most iterations of `bpf_loop`.
const MAX_LOOPS: u32 = 1 << 23;

/// `bpf_loop(nr_loops, callback, ctx, flags)`: calls `callback(index, ctx)` until it returns other than 0; returns how
/// often it was called. `EINVAL` for flags, `E2BIG` for more than 2^23 iterations.
pub(super) fn bpf_loop(run: &mut Run<'_>, [loops, callback, ctx, flags, _]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let loops = loops as u32; // the parameter has 32 bits
    if flags != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    if loops > MAX_LOOPS {
        return Ok(Errno::E2BIG.to_r0());
    }
    let code = run.code;
    for index in 0..u64::from(loops) {
        if code.call(run, callback, [index, ctx, 0, 0, 0])? != 0 {
            return Ok(index + 1);
        }
    }
    Ok(loops.into())
}

/// `bpf_for_each_map_elem(map, callback, ctx, flags)`: calls `callback(map, key, value, ctx)` for each entry until it
/// returns other than 0; returns how often it was called. A per-CPU map gives the values of this CPU. `EINVAL` for
/// flags and for kinds that cannot be walked.
pub(super) fn for_each_map_elem(
    run: &mut Run<'_>,
    [handle, callback, ctx, flags, _]: [u64; 5],
) -> Result<u64, Box<Fault>> {
    let map = run.map(handle, 164)?;
    if flags != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    let code = run.code;
    let mut fault = None;
    let visited = map.for_each(run.host.cpu(), &mut |key, value| {
        let start = key.as_ptr() as u64;
        let window = Window { start, len: key.len() as u64, writable: false };
        // SAFETY: the key is valid until this visit ends, and the window is taken back before. Nothing called meanwhile
        // can keep bytes of it longer: helpers and `Code::call` work for any `'r`, so that a `Bytes<'r>` fits into
        // nothing that outlives their call.
        unsafe { run.memory.allow(window) };
        let result = code.call(run, callback, [handle, start, value.as_ptr() as u64, ctx, 0]);
        run.memory.disallow(window);
        match result {
            Ok(0) => ControlFlow::Continue(()),
            Ok(_) => ControlFlow::Break(()),
            Err(why) => {
                fault = Some(why);
                ControlFlow::Break(())
            }
        }
    });
    match fault {
        Some(fault) => Err(fault),
        None => visited.or_else(|errno| failed(map, 164, errno)),
    }
}
