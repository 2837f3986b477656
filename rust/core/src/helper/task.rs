//! Where a program runs: CPU, task, link; and chance.

use super::Run;
use crate::fault::Fault;

/// `bpf_get_current_task` of thread 0. See [`get_current_task`].
const TASKS: u64 = 0xffff_a000_0000_0000;
/// Distance of the addresses of two tasks.
const TASK_STRIDE: u64 = 4096;

/// `bpf_get_prandom_u32`.
pub(super) fn get_prandom_u32(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.host.random().into())
}

/// `bpf_get_smp_processor_id`.
pub(super) fn get_smp_processor_id(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.host.cpu().into())
}

/// `bpf_get_numa_node_id`: a bench is one node.
pub(super) fn get_numa_node_id(_: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(0)
}

/// `bpf_get_current_pid_tgid`: the process id above, the thread id below.
pub(super) fn get_current_pid_tgid(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    let task = run.host.task();
    Ok(u64::from(task.tgid) << 32 | u64::from(task.pid))
}

/// `bpf_get_current_uid_gid`: the group id above, the user id below.
pub(super) fn get_current_uid_gid(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    let task = run.host.task();
    Ok(u64::from(task.gid) << 32 | u64::from(task.uid))
}

/// `bpf_get_current_comm(buf, size)`: the name, cut to leave a NUL, the rest of `buf` zeroed.
pub(super) fn get_current_comm(run: &mut Run<'_>, [buf, size, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let mut to = run.memory.bytes_mut(buf, size as usize)?;
    let comm = run.host.task().comm;
    let len = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len()).min(to.len().saturating_sub(1));
    to.fill_from(&comm[..len]);
    to.zero_from(len);
    Ok(0)
}

/// `bpf_get_current_task`: an address that is the same for a thread in every run, never null, and that looks like
/// one of Linux's. There is no memory: reading it fails, as reading a freed task may on Linux.
pub(super) fn get_current_task(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(TASKS + u64::from(run.host.task().pid) * TASK_STRIDE)
}

/// `bpf_get_attach_cookie`: the cookie of the link, or 0.
pub(super) fn get_attach_cookie(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.host.attach_cookie())
}
