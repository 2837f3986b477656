//! Strings.

use std::cmp::Ordering;

use super::Run;
use crate::fault::Fault;

/// `bpf_strncmp(s1, s1_size, s2)`: compares at most `s1_size` bytes; −1, 0 or 1. `s2` ends with a NUL, `s1` may.
pub(super) fn strncmp(run: &mut Run<'_>, [s1, size, s2, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let size = size as usize;
    let left = run.memory.bytes(s1, size)?;
    let readable = run.memory.readable(s2, size);
    let right = run.memory.bytes(s2, readable)?;
    let mut index = 0;
    while let Some(a) = left.get(index) {
        let Some(b) = right.get(index) else {
            let what = format!("its third argument, {}, is no string that ends with a NUL", run.memory.describe(s2));
            return Err(Box::new(Fault::Helper { id: 182, what }));
        };
        match a.cmp(&b) {
            Ordering::Less => return Ok(-1_i64 as u64),
            Ordering::Greater => return Ok(1),
            Ordering::Equal if a == 0 => break,
            Ordering::Equal => index += 1,
        }
    }
    Ok(0)
}
