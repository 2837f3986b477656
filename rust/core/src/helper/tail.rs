//! Tail calls: where they lead. The engine goes there.

use super::{Run, wrong_map};
use crate::fault::Fault;
use crate::map::Holds;

/// Id of `bpf_tail_call`.
pub const TAIL_CALL: u32 = 12;
/// Tail calls that one run may make (Linux's `MAX_TAIL_CALL_CNT`; measured). An empty entry is none.
pub const MAX_TAIL_CALLS: u32 = 33;

/// `bpf_tail_call(ctx, prog_array_map, index)`: the number of the program that goes on in place of the function that
/// calls; none where that goes on itself: the index is out of range, the entry is empty, or it was called too often.
///
/// # Errors
/// [`Fault::Helper`] for what Linux's verifier refuses: another context than the program's own, a map that is no program
/// array, a ring-buffer record that is still reserved.
pub fn tail_call_target(run: &Run<'_>, [context, array, index, ..]: [u64; 5]) -> Result<Option<u32>, Box<Fault>> {
    let map = run.map(array, TAIL_CALL)?;
    let Holds::Programs(array) = map.holds() else { return wrong_map(map, TAIL_CALL).map(|()| None) };
    if context != run.memory.context_start() {
        let place = run.memory.describe(context);
        let what = format!("its first argument is {place}; it takes the context, which the program was given in r1");
        return Err(Box::new(Fault::Helper { id: TAIL_CALL, what }));
    }
    if run.holds_lock() {
        return Err(run.calls_under_lock());
    }
    if run.owes() {
        return Err(run.unreleased());
    }
    // The parameter has 32 bits.
    Ok(if run.tail_calls < MAX_TAIL_CALLS { array.program(index as u32) } else { None })
}

/// `bpf_tail_call` where the engine does not go anywhere.
pub(super) fn tail_call(_run: &mut Run<'_>, _args: [u64; 5]) -> Result<u64, Box<Fault>> {
    Err(Box::new(Fault::Helper { id: TAIL_CALL, what: "this engine makes no tail calls".to_owned() }))
}
