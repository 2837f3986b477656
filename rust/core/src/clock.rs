//! The bench's clock, and the CPU that the next event happens on.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Where a fresh clock stands, in nanoseconds: one second after boot.
pub const START_NS: u64 = 1_000_000_000;

/// How many CPUs a bench may have: Linux's largest `NR_CPUS`.
pub const MAX_CPUS: u32 = 8192;

/// What moves the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockMode {
    /// Nothing but [`Clock::set`] and [`Clock::advance`].
    #[default]
    Manual,
    /// Each event, by this many nanoseconds; and `set` and `advance`.
    Step(u64),
    /// The machine's monotonic clock, counted on from [`START_NS`] at creation.
    Real,
}

/// Why a clock or CPU cannot be what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// A bench needs CPUs, but not endlessly many.
    #[error("a bench has 1 to {max} CPUs, not {cpus}")]
    CpuCount {
        /// CPUs asked for.
        cpus: u32,
        /// CPUs allowed.
        max: u32,
    },
    /// There is no such CPU.
    #[error("there is no CPU {cpu}: this bench has CPUs 0 to {last}")]
    Cpu {
        /// CPU asked for.
        cpu: u32,
        /// The last one that there is.
        last: u32,
    },
    /// A real clock goes by itself.
    #[error("a real clock cannot be set; a bench with clock=\"manual\" has one that can")]
    Real,
}

/// A clock in nanoseconds and a current CPU.
///
/// Shared references suffice for every change. Changes from several threads at once are all applied, in some order.
#[derive(Debug)]
pub struct Clock {
    mode: ClockMode,
    now: AtomicU64,
    origin: Instant,
    cpu: AtomicU32,
    cpus: u32,
}

impl Clock {
    /// A clock at [`START_NS`], on CPU 0 of `cpus`.
    ///
    /// # Errors
    /// [`ClockError::CpuCount`] for no CPUs or more than [`MAX_CPUS`].
    pub fn new(mode: ClockMode, cpus: u32) -> Result<Clock, ClockError> {
        if !(1..=MAX_CPUS).contains(&cpus) {
            return Err(ClockError::CpuCount { cpus, max: MAX_CPUS });
        }
        Ok(Clock { mode, now: AtomicU64::new(START_NS), origin: Instant::now(), cpu: AtomicU32::new(0), cpus })
    }

    /// Another clock that shows the same time: from then on each is moved by itself.
    #[must_use]
    pub fn copy(&self) -> Clock {
        let (now, cpu) = (self.now.load(Relaxed).into(), self.cpu().into());
        Clock { now, cpu, mode: self.mode, origin: self.origin, cpus: self.cpus }
    }

    /// What moves this clock.
    #[must_use]
    pub const fn mode(&self) -> ClockMode {
        self.mode
    }

    /// Nanoseconds since the boot of the simulated machine.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        match self.mode {
            ClockMode::Manual | ClockMode::Step(_) => self.now.load(Relaxed),
            ClockMode::Real => START_NS.wrapping_add(self.origin.elapsed().as_nanos() as u64),
        }
    }

    /// Sets the clock, backwards too.
    ///
    /// # Errors
    /// [`ClockError::Real`] for a real clock.
    pub fn set(&self, ns: u64) -> Result<(), ClockError> {
        self.settable()?;
        self.now.store(ns, Relaxed);
        Ok(())
    }

    /// Moves the clock on; beyond 2⁶⁴ it starts again at 0.
    ///
    /// # Errors
    /// [`ClockError::Real`] for a real clock.
    pub fn advance(&self, ns: u64) -> Result<(), ClockError> {
        self.settable()?;
        self.now.fetch_add(ns, Relaxed);
        Ok(())
    }

    /// The time of the next event, called once for each: a stepping clock takes its step first, so that the event,
    /// its programs and whoever looks afterwards see the same time.
    #[inline]
    pub fn tick(&self) -> u64 {
        match self.mode {
            ClockMode::Step(ns) => self.now.fetch_add(ns, Relaxed).wrapping_add(ns),
            ClockMode::Manual | ClockMode::Real => self.now(),
        }
    }

    /// How many CPUs there are.
    #[must_use]
    pub const fn cpus(&self) -> u32 {
        self.cpus
    }

    /// The CPU that events happen on.
    #[inline]
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu.load(Relaxed)
    }

    /// Moves to another CPU.
    ///
    /// # Errors
    /// [`ClockError::Cpu`] where there is none of that number.
    pub fn set_cpu(&self, cpu: u32) -> Result<(), ClockError> {
        self.check_cpu(cpu)?;
        self.cpu.store(cpu, Relaxed);
        Ok(())
    }

    /// Whether a CPU exists, for an event that names its own.
    ///
    /// # Errors
    /// [`ClockError::Cpu`] where there is none of that number.
    #[inline]
    pub const fn check_cpu(&self, cpu: u32) -> Result<(), ClockError> {
        if cpu < self.cpus { Ok(()) } else { Err(ClockError::Cpu { cpu, last: self.cpus - 1 }) }
    }

    fn settable(&self) -> Result<(), ClockError> {
        if self.mode == ClockMode::Real { Err(ClockError::Real) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::new(ClockMode::default(), 4).unwrap();
        assert_eq!((clock.now(), clock.tick(), clock.now()), (1_000_000_000, 1_000_000_000, 1_000_000_000));
        clock.set(5000).unwrap();
        clock.advance(1000).unwrap();
        assert_eq!(clock.now(), 6000);
        clock.set(u64::MAX).unwrap();
        clock.advance(2).unwrap();
        assert_eq!(clock.now(), 1);
    }

    #[test]
    fn a_stepping_clock_moves_with_each_event() {
        let clock = Clock::new(ClockMode::Step(250), 1).unwrap();
        assert_eq!((clock.tick(), clock.now(), clock.tick()), (1_000_000_250, 1_000_000_250, 1_000_000_500));
        clock.set(0).unwrap();
        assert_eq!(clock.tick(), 250);
        clock.set(u64::MAX).unwrap();
        assert_eq!((clock.tick(), clock.now()), (249, 249));
    }

    #[test]
    fn a_real_clock_goes_on_and_cannot_be_set() {
        let clock = Clock::new(ClockMode::Real, 1).unwrap();
        let before = clock.now();
        assert!(before >= START_NS);
        while clock.tick() == before {}
        assert!(clock.now() > before);
        assert_eq!(clock.set(1), Err(ClockError::Real));
        assert_eq!(clock.advance(1), Err(ClockError::Real));
    }

    #[test]
    fn cpus_are_bounded() {
        let clock = Clock::new(ClockMode::Manual, 4).unwrap();
        assert_eq!((clock.cpu(), clock.cpus()), (0, 4));
        clock.set_cpu(3).unwrap();
        assert_eq!(clock.set_cpu(4), Err(ClockError::Cpu { cpu: 4, last: 3 }));
        assert_eq!(clock.cpu(), 3);
        for cpus in [0, MAX_CPUS + 1] {
            assert_eq!(Clock::new(ClockMode::Manual, cpus).unwrap_err(), ClockError::CpuCount { cpus, max: MAX_CPUS });
        }
    }
}
