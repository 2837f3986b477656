//! Spin locks in values. What Linux's verifier refuses stops the run, in its words.

use super::Run;
use crate::fault::Fault;
use crate::map::{Map, SpinLock};

/// Id of `bpf_spin_lock`.
pub const SPIN_LOCK: u32 = 93;
/// Id of `bpf_spin_unlock`.
pub const SPIN_UNLOCK: u32 = 94;

fn fault(id: u32, what: String) -> Box<Fault> {
    Box::new(Fault::Helper { id, what })
}

/// `bpf_spin_lock(lock)`: waits until nobody else has the lock.
pub(super) fn lock(run: &mut Run<'_>, [at, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    if run.holds_lock() {
        return Err(run.calls_under_lock());
    }
    let lock = run.spin_lock(at)?;
    let waited = "it waited for a long time, and nobody lets go of it";
    lock.take().map_err(|_| fault(SPIN_LOCK, format!("bpf_spin_lock of {}: {waited}", run.memory.describe(at))))?;
    run.memory.held.set_lock(Some(at));
    Ok(0)
}

/// `bpf_spin_unlock(lock)`.
pub(super) fn unlock(run: &mut Run<'_>, [at, ..]: [u64; 5]) -> Result<u64, Box<Fault>> {
    let place = || run.memory.describe(at);
    match run.memory.held.lock() {
        None => Err(fault(SPIN_UNLOCK, format!("bpf_spin_unlock without taking a lock: {} is not locked", place()))),
        Some(held) if held != at => {
            let held = run.memory.describe(held);
            Err(fault(SPIN_UNLOCK, format!("bpf_spin_unlock of different lock: {} in place of {held}", place())))
        }
        Some(_) => {
            run.let_go();
            Ok(0)
        }
    }
}

impl<'r> Run<'r> {
    /// Whether the program holds a spin lock.
    #[inline]
    #[must_use]
    pub fn holds_lock(&self) -> bool {
        self.memory.held.lock().is_some()
    }

    /// The fault of a program that calls something while it holds a lock.
    #[cold]
    #[must_use]
    pub fn calls_under_lock(&self) -> Box<Fault> {
        let held = self.memory.held.lock().map_or_else(String::new, |at| self.memory.describe(at));
        let what = format!("function calls are not allowed while holding a lock: the program holds {held}");
        Box::new(Fault::Instruction { what })
    }

    /// The fault of a program that ends while it holds a lock, if it does.
    pub(super) fn still_locked(&self) -> Option<Box<Fault>> {
        let held = self.memory.describe(self.memory.held.lock()?);
        let what = "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region";
        Some(Box::new(Fault::Instruction { what: format!("{what}: the program still holds {held}") }))
    }

    /// Lets go of the lock that the program holds, if it holds one.
    pub(super) fn let_go(&mut self) {
        if let Some(at) = self.memory.held.lock() {
            self.memory.held.set_lock(None);
            // SAFETY: `lock` has found a lock of a map there, which the run borrows.
            unsafe { SpinLock::at(at as *mut u8) }.release();
        }
    }

    /// The lock at an address.
    fn spin_lock(&self, at: u64) -> Result<SpinLock<'r>, Box<Fault>> {
        let own = self.maps.0.iter().map(|map| &**map as &'r dyn Map);
        let inner = self.inner.into_iter().flat_map(|inner| inner.newest_first());
        let refused = |what| Err(fault(SPIN_LOCK, what));
        let Some((map, value)) = own.chain(inner).find_map(|map| Some((map, map.value_around(at)?))) else {
            return refused(format!("its argument is {}, which is in no value of a map", self.memory.describe(at)));
        };
        let (name, offset) = (&map.spec().name, at - value.start);
        match map.spin_lock() {
            None => refused(format!(
                "map '{name}' has to have BTF in order to use bpf_spin_lock: a member of type struct bpf_spin_lock in its \
                 value, in an object"
            )),
            Some(lock) if u64::from(lock) != offset => {
                refused(format!("off {offset} doesn't point to 'struct bpf_spin_lock' that is at {lock} in {name}"))
            }
            // SAFETY: the lock of a value, which is memory of the map for as long as the run borrows it; no window has it.
            Some(_) => Ok(unsafe { SpinLock::at(at as *mut u8) }),
        }
    }
}
