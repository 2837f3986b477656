//! What a `SEC("…")` name says: the type of a program, and what it attaches to.

use crate::program::ProgramType;

/// What a section name says about its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionName {
    /// Type; `None` for a name that says none that we know.
    pub program_type: Option<ProgramType>,
    /// Event (`vmm:vcpu_run_exit`) or symbol.
    pub target: Option<String>,
    /// False for a name that begins with `?`, libbpf's mark for "only on request".
    pub autoload: bool,
}

impl SectionName {
    /// Reads a section name (kernel document `bpf/libbpf/program_types.rst`, and `axvisor/…`, `mem/…` of ours).
    #[must_use]
    pub fn parse(name: &str) -> SectionName {
        let (autoload, name) = match name.strip_prefix('?') {
            Some(rest) => (false, rest),
            None => (true, name),
        };
        let (prefix, rest) = match name.split_once('/') {
            Some((prefix, rest)) => (prefix, Some(rest).filter(|rest| !rest.is_empty())),
            None => (name, None),
        };
        let event = || rest.map(|rest| rest.replacen('/', ":", 1));
        let symbol = || rest.map(str::to_owned);
        let (program_type, target) = match prefix {
            "tracepoint" | "tp" => (Some(ProgramType::Tracepoint), event()),
            "raw_tracepoint" | "raw_tp" | "raw_tracepoint.w" | "raw_tp.w" => {
                (Some(ProgramType::RawTracepoint), symbol())
            }
            "kprobe" | "kretprobe" | "kprobe.multi" | "kretprobe.multi" | "ksyscall" | "kretsyscall" | "uprobe"
            | "uretprobe" | "uprobe.s" | "uretprobe.s" | "usdt" => (Some(ProgramType::Kprobe), symbol()),
            "perf_event" => (Some(ProgramType::PerfEvent), symbol()),
            "syscall" => (Some(ProgramType::Syscall), symbol()),
            "axvisor" => (Some(ProgramType::Axvisor), event()),
            _ if is_mem(prefix) => (Some(ProgramType::Mem), None),
            _ if prefix.starts_with("xdp") => (Some(ProgramType::Xdp), None),
            _ if prefix.starts_with("socket") => (Some(ProgramType::SocketFilter), None),
            _ => (None, None),
        };
        SectionName { program_type, target, autoload }
    }
}

/// `mem`, with the buffer's length behind it or not.
fn is_mem(prefix: &str) -> bool {
    prefix.strip_prefix("mem").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_give_type_and_target() {
        use ProgramType as P;
        let cases = [
            ("tracepoint/vmm/vcpu_run_exit", Some(P::Tracepoint), Some("vmm:vcpu_run_exit")),
            ("tp/vmm/vm_boot", Some(P::Tracepoint), Some("vmm:vm_boot")),
            ("tracepoint", Some(P::Tracepoint), None),
            ("tp/", Some(P::Tracepoint), None),
            ("raw_tracepoint/vm_boot", Some(P::RawTracepoint), Some("vm_boot")),
            ("raw_tp/vm_boot", Some(P::RawTracepoint), Some("vm_boot")),
            ("raw_tracepoint.w/vm_boot", Some(P::RawTracepoint), Some("vm_boot")),
            ("kprobe/handle_exit", Some(P::Kprobe), Some("handle_exit")),
            ("kprobe/handle_exit+0x10", Some(P::Kprobe), Some("handle_exit+0x10")),
            ("kretprobe/handle_exit", Some(P::Kprobe), Some("handle_exit")),
            ("ksyscall/openat", Some(P::Kprobe), Some("openat")),
            ("perf_event", Some(P::PerfEvent), None),
            ("syscall", Some(P::Syscall), None),
            ("xdp", Some(P::Xdp), None),
            ("xdp.frags/devmap", Some(P::Xdp), None),
            ("socket", Some(P::SocketFilter), None),
            ("socket1", Some(P::SocketFilter), None),
            ("axvisor", Some(P::Axvisor), None),
            ("axvisor/vmm/vm_boot", Some(P::Axvisor), Some("vmm:vm_boot")),
            ("mem/sum", Some(P::Mem), None),
            ("mem16/sum", Some(P::Mem), None),
            ("memory/sum", None, None),
            ("tracepointer/a/b", None, None),
            ("sockops", None, None),
            ("vmexit/handler", None, None),
            ("2/1", None, None),
            ("", None, None),
        ];
        for (name, program_type, target) in cases {
            let target = target.map(str::to_owned);
            let expected = SectionName { program_type, target, autoload: true };
            assert_eq!(SectionName::parse(name), expected, "{name}");
            let expected = SectionName { autoload: false, ..expected };
            assert_eq!(SectionName::parse(&format!("?{name}")), expected, "?{name}");
        }
    }
}
