//! Perf event array: a buffer a CPU, into which `bpf_perf_event_output` writes records.
//!
//! On Linux the buffers are not the map's: whoever reads them opens a perf event on each CPU, maps its buffer, and puts
//! its descriptor into the array. Here the reader opens the buffer of a CPU ([`PerfEventArray::open`]), which puts it at
//! the index of that CPU; deleting the entry closes it to programs, and what is in it can still be read.
//!
//! A record takes as much room as on Linux with `PERF_SAMPLE_RAW` alone, so that as many fit: a header of 8 bytes, the
//! length in 4, the data, all padded to 8. What finds no room is lost; the next record that does is preceded by one of 24
//! bytes that says how many were. Measured on Linux 6.18.

use std::collections::{BTreeMap, VecDeque};

use crate::errno::Errno;
use crate::map::lock::Lock;
use crate::map::numbered::{NoObjects, Numbered, Objects, Refusal, no_memory, numbered_map};
use crate::map::{Holds, Map, MapSpec};
use crate::memory::{Bytes, Region, Window};

/// `BPF_F_CURRENT_CPU`: the entry of the CPU that the program runs on.
pub const BPF_F_CURRENT_CPU: u64 = BPF_F_INDEX_MASK;
/// `BPF_F_INDEX_MASK`: the bits of the flags of `bpf_perf_event_output` that are an index.
pub const BPF_F_INDEX_MASK: u64 = 0xffff_ffff;
/// Bytes of a buffer that nobody has said the size of: 64 pages, which readers usually take.
pub const BUFFER: u64 = 64 * PAGE;
/// The most data of a record: Linux's header counts the whole record in 16 bits.
pub const MAX_DATA: usize = 65516;

/// A page of a buffer.
const PAGE: u64 = 4096;
/// The largest buffer: 2^15 pages of data.
const MAX_BUFFER: u64 = PAGE << 15;
/// Header and length of a record.
const HEAD: u64 = 8 + 4;
/// A record that says how many were lost.
const LOST: u64 = 24;

/// A record, as its reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerfRecord {
    /// The CPU whose buffer it was in.
    pub cpu: u32,
    /// When it was written, in nanoseconds since boot.
    pub time_ns: u64,
    /// What the program wrote, without the padding behind it.
    pub data: Vec<u8>,
}

struct Header {
    /// Records written before it, on all CPUs.
    nth: u64,
    time_ns: u64,
    len: usize,
    /// Bytes that it takes, with a record of loss before it.
    room: u64,
}

struct Buffer {
    size: u64,
    used: u64,
    /// Records lost since the last one that found room.
    missed: u64,
    lost: u64,
    headers: VecDeque<Header>,
    data: VecDeque<u8>,
}

impl Buffer {
    fn new(size: u64, lost: u64) -> Buffer {
        Buffer { size, used: 0, missed: 0, lost, headers: VecDeque::new(), data: VecDeque::new() }
    }

    fn write(&mut self, nth: u64, time_ns: u64, data: &[u8]) -> Result<(), Errno> {
        let own = (HEAD + data.len() as u64).next_multiple_of(8);
        let room = own + if self.missed > 0 { LOST } else { 0 };
        // Linux leaves one byte free, so that full and empty differ.
        if self.used + room >= self.size {
            self.missed += 1;
            self.lost += 1;
            return Err(Errno::ENOSPC);
        }
        self.headers.try_reserve(1).and_then(|()| self.data.try_reserve(data.len())).map_err(|_| Errno::ENOMEM)?;
        self.missed = 0;
        self.used += room;
        self.headers.push_back(Header { nth, time_ns, len: data.len(), room });
        self.data.extend(data);
        Ok(())
    }

    fn read(&mut self, cpu: u32) -> Option<PerfRecord> {
        let Header { time_ns, len, room, .. } = self.headers.pop_front()?;
        self.used -= room;
        Some(PerfRecord { cpu, time_ns, data: self.data.drain(..len).collect() })
    }
}

#[derive(Default)]
struct Buffers {
    of_cpu: BTreeMap<u32, Buffer>,
    written: u64,
    /// A record on its way from a program's memory.
    data: Vec<u8>,
}

/// A perf event array.
pub struct PerfEventArray {
    /// The entries that have an event open, each on the CPU of its index.
    array: Numbered<()>,
    buffers: Lock<Buffers>,
}

impl PerfEventArray {
    pub(super) fn new(spec: MapSpec) -> PerfEventArray {
        PerfEventArray { array: Numbered::new(spec), buffers: Lock::default() }
    }

    /// Opens the buffer of a CPU, of `size` bytes: an empty one, also where there was one.
    ///
    /// # Errors
    /// `EINVAL` for a size that is no power of two of pages, or more than 2^15 of them; as `BPF_MAP_UPDATE_ELEM`.
    pub fn open(&self, cpu: u32, size: u64) -> Result<(), Errno> {
        if !size.is_power_of_two() || !(PAGE..=MAX_BUFFER).contains(&size) {
            return Err(Errno::EINVAL);
        }
        let mut buffers = self.buffers.lock();
        self.array.put(cpu, ())?;
        let lost = buffers.of_cpu.get(&cpu).map_or(0, |buffer| buffer.lost);
        buffers.of_cpu.insert(cpu, Buffer::new(size, lost));
        Ok(())
    }

    /// Whether programs can write to the buffer of a CPU.
    #[must_use]
    pub fn is_open(&self, cpu: u32) -> bool {
        self.array.with(cpu, |()| ()).is_some()
    }

    /// `bpf_perf_event_output` on `cpu`, of at most [`MAX_DATA`] bytes.
    ///
    /// # Errors
    /// `EINVAL` for flags, `E2BIG` for an index out of range, `ENOENT` where no buffer is open there, `EOPNOTSUPP` where
    /// it is another CPU's, `ENOSPC` where the buffer is full.
    pub fn output(&self, cpu: u32, time_ns: u64, flags: u64, data: Bytes<'_>) -> Result<(), Errno> {
        if flags & !BPF_F_INDEX_MASK != 0 {
            return Err(Errno::EINVAL);
        }
        let index = if flags == BPF_F_CURRENT_CPU { cpu } else { flags as u32 };
        if index >= self.array.spec.max_entries {
            return Err(Errno::E2BIG);
        }
        if !self.is_open(index) {
            return Err(Errno::ENOENT);
        }
        if index != cpu {
            return Err(Errno::EOPNOTSUPP);
        }
        let Buffers { of_cpu, written, data: bytes } = &mut *self.buffers.lock();
        let buffer = of_cpu.get_mut(&index).ok_or(Errno::ENOENT)?;
        bytes.clear();
        bytes.try_reserve(data.len()).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(data.len(), 0);
        // SAFETY: `bytes` has as many bytes as `data`.
        unsafe { data.copy_to(bytes.as_mut_ptr()) };
        buffer.write(*written, time_ns, bytes)?;
        *written += 1;
        Ok(())
    }

    /// Takes the oldest record: of a CPU, or of all.
    #[must_use]
    pub fn read(&self, cpu: Option<u32>) -> Option<PerfRecord> {
        let of_cpu = &mut self.buffers.lock().of_cpu;
        let oldest = |(cpu, buffer): (&u32, &Buffer)| Some((buffer.headers.front()?.nth, *cpu));
        let cpu = match cpu {
            Some(cpu) => cpu,
            None => of_cpu.iter().filter_map(oldest).min()?.1,
        };
        of_cpu.get_mut(&cpu)?.read(cpu)
    }

    /// Records that wait to be read.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffers.lock().of_cpu.values().map(|buffer| buffer.headers.len()).sum()
    }

    /// Records that found no room so far, by CPU; CPUs without a buffer are left out.
    #[must_use]
    pub fn lost(&self) -> Vec<(u32, u64)> {
        self.buffers.lock().of_cpu.iter().map(|(cpu, buffer)| (*cpu, buffer.lost)).collect()
    }
}

no_memory!(PerfEventArray);

impl Map for PerfEventArray {
    numbered_map!();

    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it.
        unsafe {
            self.array.set_alone(alone);
            self.buffers.set_alone(alone);
        }
    }

    fn len(&self) -> usize {
        self.waiting()
    }

    fn holds(&self) -> Holds<'_> {
        Holds::Events(self)
    }

    /// A bench has no perf events with numbers: [`PerfEventArray::open`] is for that.
    fn update_by_number(&self, key: &[u8], value: &[u8], flags: u64, _objects: &dyn Objects) -> Result<(), Refusal> {
        let none = |_| {
            let why = "a bench has no perf events with numbers; open(cpu) opens the buffer of a CPU".to_owned();
            Err(Refusal { errno: Errno::EBADF, why: Some(why) })
        };
        self.array.update(key, value, flags, none).map(drop)
    }

    fn lookup_user(&self, _key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.array.lookup_nothing(flags)
    }

    fn dump_user(&self, _keys: &mut Vec<u8>, _values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.array.lookup_nothing(0)?;
        Ok(0)
    }
}
