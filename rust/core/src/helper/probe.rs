//! Reading memory that may not be there.
//!
//! The memory of a run (its stack, its context, values of its maps) counts as kernel memory. What else there is, guest
//! or user memory among it, the bench knows. Errors are Linux's for x86-64 with four levels of page tables, asked of
//! Linux 6.18.

use super::{Host, Run};
use crate::errno::Errno;
use crate::fault::Fault;
use crate::memory::{BytesMut, Memory};

/// First address behind user memory.
const USER_END: u64 = 0x7fff_ffff_f000;
/// First address of kernel memory; between the two no address is canonical.
const KERNEL_START: u64 = 0xffff_8000_0000_0000;
/// The one page of the upper half that the kernel does not take for its own.
const VSYSCALL_PAGE: u64 = 0xffff_ffff_ff60_0000;

/// Bytes read at a time.
const CHUNK: usize = 64;

/// Which memory a helper means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Space {
    /// Kernel memory: `bpf_probe_read_kernel`.
    Kernel,
    /// User memory: `bpf_probe_read_user`.
    User,
    /// User or kernel memory by the address: `bpf_probe_read`.
    Either,
}

impl Space {
    /// Whether an address is in this space at all.
    fn spans(self, address: u64) -> bool {
        let user = address < USER_END;
        let kernel = address >= KERNEL_START && address & !0xfff != VSYSCALL_PAGE;
        match self {
            Space::Kernel => kernel,
            Space::User => address <= USER_END, // at its end no bytes can still be read
            Space::Either => user || kernel,
        }
    }

    /// Why an address cannot be read.
    fn errno(self, address: u64) -> Errno {
        if self == Space::User || self.spans(address) { Errno::EFAULT } else { Errno::ERANGE }
    }
}

/// Reads as many bytes of `chunk` as it can at once; 0 where there are none.
fn read_some(memory: &mut Memory<'_>, host: &dyn Host, space: Space, address: u64, chunk: &mut [u8]) -> usize {
    if space != Space::User {
        let readable = memory.probeable(address, chunk.len());
        if readable > 0
            && let Ok(bytes) = memory.probe(address, readable)
        {
            // SAFETY: `chunk` has at least `readable` bytes.
            unsafe { bytes.copy_to(chunk.as_mut_ptr()) };
            return readable;
        }
    }
    if host.probe_read(address, chunk).is_ok() {
        return chunk.len();
    }
    usize::from(chunk.len() > 1 && host.probe_read(address, &mut chunk[..1]).is_ok())
}

/// Fills `out` from `address`.
///
/// # Errors
/// Linux's errno where not all bytes can be read; `out` is zeroed then.
pub(super) fn read(run: &mut Run<'_>, space: Space, address: u64, mut out: BytesMut<'_>) -> Result<(), Errno> {
    let len = out.len();
    let live = if space == Space::User { 0 } else { run.memory.probeable(address, len.max(1)) };
    if len == 0 {
        return if live > 0 || space.spans(address) { Ok(()) } else { Err(space.errno(address)) };
    }
    if live == len
        && let Ok(bytes) = run.memory.probe(address, len)
    {
        // SAFETY: `out` has `len` bytes.
        unsafe { bytes.copy_to(out.as_mut_ptr()) };
        return Ok(());
    }
    let mut done = 0;
    while done < len {
        let mut chunk = [0; CHUNK];
        let want = CHUNK.min(len - done);
        let got = read_some(&mut run.memory, run.host, space, address.wrapping_add(done as u64), &mut chunk[..want]);
        if got == 0 {
            out.zero_from(0);
            return Err(space.errno(address));
        }
        out.write_at(done, &chunk[..got]);
        done += got;
    }
    Ok(())
}

/// Copies the string at `address`, cut to leave a NUL in `out`; bytes behind the NUL are left as they are. Returns the
/// length with the NUL, which is 0 only where `out` is empty.
///
/// # Errors
/// Linux's errno where the memory ends before the string does; `out` is zeroed then.
pub(super) fn read_string(
    run: &mut Run<'_>,
    space: Space,
    address: u64,
    mut out: BytesMut<'_>,
) -> Result<usize, Errno> {
    let Some(most) = out.len().checked_sub(1) else { return Ok(0) };
    let mut done = 0;
    loop {
        let mut chunk = [0; CHUNK];
        // The byte for the NUL is read too, as Linux does: a size of 1 at a bad address fails.
        let want = CHUNK.min(most + 1 - done);
        let got = read_some(&mut run.memory, run.host, space, address.wrapping_add(done as u64), &mut chunk[..want]);
        if got == 0 {
            out.zero_from(0);
            return Err(space.errno(address));
        }
        let text = chunk[..got].iter().position(|&byte| byte == 0);
        let end = text.or((done + got > most).then_some(most - done));
        let n = end.unwrap_or(got);
        out.write_at(done, &chunk[..n]);
        if end.is_some() {
            out.write_at(done + n, &[0]);
        }
        done += n;
        if end.is_some() {
            return Ok(done + 1);
        }
    }
}

fn bytes_of(run: &mut Run<'_>, [dst, size, src, ..]: [u64; 5], space: Space) -> Result<u64, Box<Fault>> {
    let out = run.memory.bytes_mut(dst, size as usize)?;
    Ok(read(run, space, src, out).map_or_else(Errno::to_r0, |()| 0))
}

fn string_of(run: &mut Run<'_>, [dst, size, src, ..]: [u64; 5], space: Space) -> Result<u64, Box<Fault>> {
    let out = run.memory.bytes_mut(dst, size as usize)?;
    Ok(read_string(run, space, src, out).map_or_else(Errno::to_r0, |len| len as u64))
}

/// `bpf_probe_read(dst, size, src)`.
pub(super) fn probe_read(run: &mut Run<'_>, args: [u64; 5]) -> Result<u64, Box<Fault>> {
    bytes_of(run, args, Space::Either)
}

/// `bpf_probe_read_user(dst, size, src)`.
pub(super) fn probe_read_user(run: &mut Run<'_>, args: [u64; 5]) -> Result<u64, Box<Fault>> {
    bytes_of(run, args, Space::User)
}

/// `bpf_probe_read_kernel(dst, size, src)`.
pub(super) fn probe_read_kernel(run: &mut Run<'_>, args: [u64; 5]) -> Result<u64, Box<Fault>> {
    bytes_of(run, args, Space::Kernel)
}

/// `bpf_probe_read_str(dst, size, src)`.
pub(super) fn probe_read_str(run: &mut Run<'_>, args: [u64; 5]) -> Result<u64, Box<Fault>> {
    string_of(run, args, Space::Either)
}

/// `bpf_probe_read_user_str(dst, size, src)`.
pub(super) fn probe_read_user_str(run: &mut Run<'_>, args: [u64; 5]) -> Result<u64, Box<Fault>> {
    string_of(run, args, Space::User)
}

/// `bpf_probe_read_kernel_str(dst, size, src)`.
pub(super) fn probe_read_kernel_str(run: &mut Run<'_>, args: [u64; 5]) -> Result<u64, Box<Fault>> {
    string_of(run, args, Space::Kernel)
}
