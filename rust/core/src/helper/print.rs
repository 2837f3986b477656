//! Formatted text: to the trace, or into the program's memory.

use super::Run;
use super::format::{self, Formatted};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::memory::Bytes;

/// Most bytes of a line of the trace: Linux's buffer of 1024, less a NUL.
const LINE: usize = 1023;
/// Most arguments of `bpf_trace_vprintk` and `bpf_snprintf`.
const MAX_ARGUMENTS: usize = 12;

/// `bpf_trace_printk(fmt, size, a, b, c)`: prints a line of the trace and returns its length, also of what Linux's
/// buffer of 1024 bytes cuts off. `EINVAL` and `ENOSPC` as [`format::format`] says.
pub(super) fn trace_printk(run: &mut Run<'_>, [fmt, size, a, b, c]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let text = run.memory.bytes(fmt, size as usize)?;
    Ok(print(run, text, &[a, b, c]))
}

/// `bpf_trace_vprintk(fmt, size, data, data_len)`: the same with up to 12 arguments, which `data` holds as u64.
pub(super) fn trace_vprintk(run: &mut Run<'_>, [fmt, size, data, len, _]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let text = run.memory.bytes(fmt, size as usize)?;
    let mut args = [0; MAX_ARGUMENTS];
    Ok(match arguments(run, data, len, &mut args)? {
        Some(args) => print(run, text, args),
        None => Errno::EINVAL.to_r0(),
    })
}

/// `bpf_snprintf(str, size, fmt, data, data_len)`: the text, cut to leave a NUL, into `str`; returns its whole length
/// with the NUL.
pub(super) fn snprintf(run: &mut Run<'_>, [str, size, fmt, data, len]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let mut to = run.memory.bytes_mut(str, size as usize)?;
    let readable = run.memory.readable(fmt, usize::MAX).max(1);
    let text = run.memory.bytes(fmt, readable)?;
    let mut args = [0; MAX_ARGUMENTS];
    let Some(args) = arguments(run, data, len, &mut args)? else { return Ok(Errno::EINVAL.to_r0()) };
    Ok(match format::format(run, text, args, to.len().saturating_sub(1)) {
        Ok(Formatted { mut text, len }) => {
            text.push(0);
            to.fill_from(&text);
            len + 1
        }
        Err(errno) => errno.to_r0(),
    })
}

fn print(run: &mut Run<'_>, format: Bytes<'_>, args: &[u64]) -> u64 {
    match format::format(run, format, args, LINE) {
        Ok(Formatted { text, len }) => {
            // A `%c` of 0 ends the line, as on Linux.
            let line = text.split(|&byte| byte == 0).next().unwrap_or_default();
            run.host.print(&String::from_utf8_lossy(line));
            len
        }
        Err(errno) => errno.to_r0(),
    }
}

/// The arguments that `data` holds; `None` for a length that is `EINVAL`.
fn arguments<'a>(
    run: &mut Run<'_>,
    data: u64,
    len: u64,
    args: &'a mut [u64; MAX_ARGUMENTS],
) -> Result<Option<&'a [u64]>, Box<Fault>> {
    if !len.is_multiple_of(8) || len > 8 * MAX_ARGUMENTS as u64 || (data == 0 && len != 0) {
        return Ok(None);
    }
    let bytes = run.memory.bytes(data, len as usize)?.to_vec();
    let count = bytes.len() / 8;
    for (arg, bytes) in args.iter_mut().zip(bytes.chunks_exact(8)) {
        *arg = bytes.try_into().map_or(0, u64::from_le_bytes);
    }
    Ok(Some(&args[..count]))
}
