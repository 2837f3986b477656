//! The seed's helpers: what the hypervisor was doing when the event fired.

use super::Run;
use crate::fault::Fault;

/// `bpf_get_current_vm_id`.
pub(super) fn get_current_vm_id(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.host.vm_context().vm_id.into())
}

/// `bpf_get_current_vcpu_id`.
pub(super) fn get_current_vcpu_id(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.host.vm_context().vcpu_id.into())
}

/// `bpf_get_exit_reason`.
pub(super) fn get_exit_reason(run: &mut Run<'_>, _: [u64; 5]) -> Result<u64, Box<Fault>> {
    Ok(run.host.vm_context().exit_reason)
}
