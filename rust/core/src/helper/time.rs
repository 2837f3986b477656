//! Time.

use super::Run;
use crate::fault::Fault;

/// Nanoseconds of a jiffy: 1000 a second. Linux builds have 100, 250 or 1000, and AxVisor ticks 1000 times.
const JIFFY_NS: u64 = 1_000_000;

/// `bpf_ktime_get_ns`, `bpf_ktime_get_boot_ns`, `bpf_ktime_get_tai_ns`: the clock of the bench.
///
/// The bench never sleeps, and its clock has no epoch, so that the three are one clock.
pub(super) fn ktime_get_ns(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.host.now())
}

/// `bpf_jiffies64`: jiffies since boot. Linux begins to count five minutes before its low 32 bits wrap; this begins
/// at 0.
pub(super) fn jiffies64(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.host.now() / JIFFY_NS)
}
