//! Threads of a recording: which vCPU each is, and what it has begun.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::MAX_MARKS;
use super::ftrace::Head;
use crate::event::Stamp;

/// The most threads that are told apart.
const MAX_THREADS: usize = 1 << 16;

/// A mark that is not set.
const UNSET: u64 = u64::MAX;

/// An event that waits for its end.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) which: usize,
    pub(super) stamp: Stamp,
    pub(super) record: Vec<u8>,
    /// Fields that are the time since a mark.
    pub(super) since: Vec<(usize, usize)>,
    pub(super) until: usize,
    /// Its number among all that were held.
    pub(super) order: u64,
}

/// A thread.
#[derive(Debug)]
pub(super) struct Thread {
    /// Its VM, from 1.
    pub(super) vm: u32,
    /// Its vCPU.
    pub(super) vcpu: u32,
    /// Whether an event has said which vCPU it is.
    stated: bool,
    marks: [u64; MAX_MARKS],
    /// The marks that were ever set, a bit each.
    ever: u32,
    pub(super) held: Option<Box<Held>>,
}

impl Thread {
    /// When a mark was set, if it is.
    pub(super) fn mark(&self, mark: usize) -> Option<u64> {
        Some(self.marks[mark]).filter(|&time| time != UNSET)
    }

    pub(super) fn set(&mut self, mark: usize, time_ns: u64) {
        self.marks[mark] = time_ns.min(UNSET - 1);
        self.ever |= 1 << mark;
    }

    pub(super) fn clear(&mut self, mark: usize) {
        self.marks[mark] = UNSET;
    }

    /// Whether this mark was ever set.
    pub(super) fn sets(&self, mark: usize) -> bool {
        self.ever & 1 << mark != 0
    }
}

/// The vCPUs of a VM that are known.
#[derive(Debug, Default)]
struct Vm {
    vcpus: HashSet<u32, RandomState>,
    /// No smaller number is free.
    next: u32,
}

impl Vm {
    /// A number for a vCPU that has not said its own.
    fn free(&mut self) -> u32 {
        while self.vcpus.contains(&self.next) {
            self.next += 1;
        }
        self.next
    }
}

/// All threads that are vCPUs.
#[derive(Debug, Default)]
pub(super) struct Threads {
    by_pid: HashMap<i32, Thread, RandomState>,
    by_tgid: HashMap<i32, u32, RandomState>,
    /// The VMs, by their number less one.
    vms: Vec<Vm>,
    /// The VM of the last event in a vCPU's thread.
    last_vm: u32,
}

impl Threads {
    /// The thread of an event, which runs a vCPU; `stated` is the vCPU that the event names. None where there are too
    /// many threads.
    ///
    /// Without that, a number in the task's name counts (`CPU 0/KVM`, `vcpu1`), or else the order of appearance. A
    /// process is a VM; without the column of processes, a second thread for a vCPU number begins the next VM.
    pub(super) fn of_vcpu(&mut self, head: &Head<'_>, stated: Option<u32>) -> Option<&mut Thread> {
        if !self.by_pid.contains_key(&head.pid) {
            if self.by_pid.len() >= MAX_THREADS {
                return None;
            }
            let known = stated.or_else(|| named(head.comm));
            let vm = self.vm_for(head, known);
            let of_vm = &mut self.vms[vm as usize - 1];
            let vcpu = known.unwrap_or_else(|| of_vm.free());
            of_vm.vcpus.insert(vcpu);
            let thread = Thread { vm, vcpu, stated: known.is_some(), marks: [UNSET; MAX_MARKS], ever: 0, held: None };
            self.by_pid.insert(head.pid, thread);
        }
        let thread = self.by_pid.get_mut(&head.pid)?;
        if let Some(stated) = stated
            && !(thread.stated && thread.vcpu == stated)
        {
            (thread.vcpu, thread.stated) = (stated, true);
            self.vms[thread.vm as usize - 1].vcpus.insert(stated);
        }
        self.last_vm = thread.vm;
        Some(thread)
    }

    /// The VM of an event that may happen in any thread: of the same process or thread, or else of the last vCPU.
    pub(super) fn vm_near(&self, head: &Head<'_>) -> u32 {
        let of_process = head.tgid.and_then(|tgid| self.by_tgid.get(&tgid).copied());
        of_process.or_else(|| self.by_pid.get(&head.pid).map(|thread| thread.vm)).unwrap_or(self.last_vm.max(1))
    }

    /// The VM of a thread that was not seen before.
    fn vm_for(&mut self, head: &Head<'_>, vcpu: Option<u32>) -> u32 {
        let next = self.vms.len() as u32 + 1;
        let vm = match head.tgid {
            Some(tgid) => *self.by_tgid.entry(tgid).or_insert(next),
            None => match (self.vms.last(), vcpu) {
                (None, _) => next,
                (Some(last), Some(vcpu)) if last.vcpus.contains(&vcpu) => next,
                (Some(_), _) => next - 1,
            },
        };
        if vm == next {
            self.vms.push(Vm::default());
        }
        vm
    }

    /// Forgets what threads have begun, and gives back the events that wait, in order.
    pub(super) fn interrupt(&mut self) -> Vec<Held> {
        let mut held = Vec::new();
        for thread in self.by_pid.values_mut() {
            thread.marks = [UNSET; MAX_MARKS];
            held.extend(thread.held.take().map(|held| *held));
        }
        held.sort_unstable_by_key(|held| held.order);
        held
    }
}

/// The number of the vCPU in a task's name: of QEMU (`CPU 0/KVM`), Firecracker (`fc_vcpu 0`), crosvm (`crosvm_vcpu0`) and
/// others that say `vcpu`.
fn named(comm: &[u8]) -> Option<u32> {
    let digits = match memchr::memmem::find(comm, b"vcpu") {
        Some(at) => comm[at + 4..].trim_ascii_start(),
        None => comm.strip_prefix(b"CPU ")?.strip_suffix(b"/KVM")?,
    };
    std::str::from_utf8(digits).ok()?.parse().ok()
}
