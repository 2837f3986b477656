//! The lock of a map, which costs next to nothing while one thread has the map to itself.
//!
//! To take a mutex and to give it back are two locked instructions, and those take longer than a look-up does. So a map
//! can be told that it is *alone* ([`Map::set_alone`](crate::map::Map::set_alone)): that whoever uses it sees to it that
//! one thread at a time does. Then its lock is a flag, which still notices when it is taken twice.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::RawMutex;
use parking_lot::lock_api::RawMutex as _;

/// Whether one thread at a time uses a map. At first it is not known, and so not so.
#[derive(Default)]
pub(super) struct Alone(AtomicBool);

impl Alone {
    #[inline(always)]
    pub(super) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// # Safety
    /// As for [`Map::set_alone`](crate::map::Map::set_alone).
    pub(super) unsafe fn set(&self, alone: bool) {
        self.0.store(alone, Relaxed);
    }
}

/// Something that one thread at a time may use.
pub(super) struct Lock<T> {
    alone: Alone,
    /// Whether it is taken, while it is alone.
    taken: Cell<bool>,
    /// Taken while it is not alone.
    mutex: RawMutex,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a `Taken` only, of which there is one at a time: the mutex sees to it, or while
// the lock is alone the flag, which only the thread uses that then has the lock to itself (`Alone::set`).
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A lock that is not alone.
    pub(super) const fn new(value: T) -> Lock<T> {
        Lock {
            alone: Alone(AtomicBool::new(false)),
            taken: Cell::new(false),
            mutex: RawMutex::INIT,
            value: UnsafeCell::new(value),
        }
    }

    /// Waits until nobody has it, and takes it.
    ///
    /// # Panics
    /// Where it is alone and taken already, which without that would wait for ever: it is taken in this module's own
    /// code only, which calls nothing of others' meanwhile.
    #[inline(always)]
    pub(super) fn lock(&self) -> Taken<'_, T> {
        let alone = self.alone.get();
        if alone {
            assert!(!self.taken.replace(true), "a map waits for its own lock");
        } else {
            self.mutex.lock();
        }
        Taken { lock: self, alone, local: PhantomData }
    }

    /// As [`Lock::lock`], where it is alone and not taken: for code so short that even a way to wait, never gone, would
    /// slow it down.
    #[inline(always)]
    pub(super) fn lock_alone(&self) -> Option<Taken<'_, T>> {
        if !self.alone.get() || self.taken.get() {
            return None;
        }
        self.taken.set(true);
        Some(Taken { lock: self, alone: true, local: PhantomData })
    }

    /// Says whether it is alone.
    ///
    /// # Safety
    /// As for [`Map::set_alone`](crate::map::Map::set_alone).
    pub(super) unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe { self.alone.set(alone) };
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Lock<T> {
        Lock::new(T::default())
    }
}

/// A lock that is taken. It is given back on drop, by the thread that has taken it.
pub(super) struct Taken<'l, T> {
    lock: &'l Lock<T>,
    alone: bool,
    local: PhantomData<*const ()>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: this is the only `Taken` of the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Taken<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the only `Taken` of the lock.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Taken<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.alone {
            self.lock.taken.set(false);
        } else {
            // SAFETY: `Lock::lock` has taken it, on this thread.
            unsafe { self.lock.mutex.unlock() };
        }
    }
}
