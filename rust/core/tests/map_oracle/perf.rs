//! `bpf_perf_event_output` against the kernel's: what it returns, how much fits, and what the reader gets.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use axebpf_core::map::{BPF_F_CURRENT_CPU, Holds, MapKind, PerfEventArray, create};
use axebpf_core::memory::Bytes;

use crate::kernel::{self, KernelMap, Program};
use crate::map_support::{Random, spec};
use crate::operations;

const PAGE: usize = 4096;

/// A perf event of the kernel's on a CPU, with its buffer.
pub struct Event {
    pub fd: OwnedFd,
    pages: *mut u8,
    size: usize,
}

impl Event {
    pub fn open(cpu: i32, size: usize) -> Event {
        // `struct perf_event_attr`: a software event (1) of the size of its first form, of BPF output (10), every one of
        // which is a record (period 1) with raw data (1 << 10).
        let mut attr = [0_u64; 16];
        (attr[0], attr[1], attr[2], attr[3]) = (1 | 128 << 32, 10, 1, 1 << 10);
        // SAFETY: the attributes are as long as they say.
        let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, cpu, -1, 8) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the kernel has just returned this descriptor to us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping, whose address the kernel chooses.
        let pages =
            unsafe { libc::mmap(std::ptr::null_mut(), PAGE + size, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        assert_ne!(pages, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        Event { fd, pages: pages.cast(), size }
    }

    /// All records with raw data, and how many the kernel says were lost.
    pub fn read(&self) -> (Vec<Vec<u8>>, u64) {
        let (mut records, mut lost) = (Vec::new(), 0);
        // SAFETY: the mapped pages: `data_head` and `data_tail` in the first, then the data; no program runs now.
        unsafe {
            let position = self.pages.add(1024).cast::<u64>();
            let (head, mut tail) = (position.read_volatile(), position.add(1).read_volatile());
            while tail < head {
                let byte = |offset: usize| self.pages.add(PAGE + (tail as usize + offset) % self.size).read_volatile();
                let number = |offset, len: usize| {
                    (0..len).rev().fold(0, |n, byte_of| n << 8 | u64::from(byte(offset + byte_of)))
                };
                match number(0, 4) {
                    9 => records.push((0..number(8, 4) as usize).map(|at| byte(12 + at)).collect()),
                    2 => lost += number(16, 8),
                    kind => panic!("record of kind {kind}"),
                }
                tail += number(6, 2);
            }
            position.add(1).write_volatile(tail);
        }
        (records, lost)
    }
}

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let (off, imm) = (off.to_le_bytes(), imm.to_le_bytes());
    [code, dst | src << 4, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
}

/// A program that writes the first bytes of a large value: its arguments are the flags and the size.
fn program(events: &KernelMap, data: &KernelMap) -> Program {
    let map = |register, map: &KernelMap| [insn(0x18, register, 1, 0, map.fd()), insn(0, 0, 0, 0, 0)];
    let set = |register, imm| insn(0xb7, register, 0, 0, imm);
    let (lookup, output, exit) = (insn(0x85, 0, 0, 0, 1), insn(0x85, 0, 0, 0, 25), insn(0x95, 0, 0, 0, 0));
    let mut code = vec![insn(0x79, 6, 1, 0, 0), insn(0x79, 7, 1, 8, 0), insn(0xbf, 8, 1, 0, 0)];
    code.extend([insn(0x62, 10, 0, -4, 0), insn(0xbf, 2, 10, 0, 0), insn(0x07, 2, 0, 0, -4)]);
    code.extend(map(1, data));
    code.extend([lookup, insn(0x55, 0, 0, 2, 0), set(0, -1000), exit]);
    code.extend([insn(0x25, 7, 0, 8, SIZE as i32), insn(0xbf, 4, 0, 0, 0), insn(0xbf, 1, 8, 0, 0)]);
    code.extend(map(2, events));
    code.extend([insn(0xbf, 3, 6, 0, 0), insn(0xbf, 5, 7, 0, 0), output, exit]);
    code.extend([set(0, -1001), exit]);
    Program::load(&code)
}

/// Bytes of the value that records are made of.
const SIZE: usize = 1 << 16;

struct Pair {
    events: PerfEvents,
    theirs: KernelMap,
    program: Program,
    data: Vec<u8>,
}

/// A map that is a perf event array.
struct PerfEvents(std::sync::Arc<dyn axebpf_core::map::Map>);

impl PerfEvents {
    fn get(&self) -> &PerfEventArray {
        match self.0.holds() {
            Holds::Events(events) => events,
            _ => panic!("a perf event array"),
        }
    }
}

impl Pair {
    fn new(entries: u32) -> Pair {
        let of = spec(MapKind::PerfEventArray, 4, 4, entries, 0);
        let theirs = KernelMap::create(&of, 1).unwrap();
        let value = spec(MapKind::Array, 4, SIZE as u32, 1, 0);
        let values = KernelMap::create(&value, 1).unwrap();
        let data: Vec<u8> = (0..SIZE).map(|n| (n / 3) as u8).collect();
        values.update(&[0; 4], &data, 0).unwrap();
        let program = program(&theirs, &values);
        Pair { events: PerfEvents(create(of, 1).unwrap()), theirs, program, data }
    }

    fn write(&self, cpu: u32, flags: u64, size: usize) {
        let ours = self.events.get().output(cpu, 0, flags, Bytes::from(&self.data[..size]));
        let ours = ours.map_or_else(|errno| -errno.0, |()| 0);
        let theirs = self.program.run(cpu, [flags, size as u64, 0]);
        assert_eq!(ours, theirs, "{size} bytes on CPU {cpu} with flags {flags:#x}");
    }
}

#[test]
fn answers_and_records() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    const FLAGS: [u64; 8] = [BPF_F_CURRENT_CPU, 0, 1, 2, 3, BPF_F_CURRENT_CPU + 1, 1 << 32, 1 << 63];
    let cpus = kernel::cpus().min(2);
    let pair = Pair::new(3);
    let mut random = Random(7);
    for flags in FLAGS {
        pair.write(0, flags, 8);
    }
    let sizes = [PAGE, 4 * PAGE];
    let events: Vec<Event> = (0..cpus).map(|cpu| Event::open(cpu as i32, sizes[cpu as usize])).collect();
    for (cpu, event) in events.iter().enumerate() {
        pair.theirs.update(&(cpu as u32).to_le_bytes(), &event.fd.as_raw_fd().to_le_bytes(), 0).unwrap();
        pair.events.get().open(cpu as u32, sizes[cpu] as u64).unwrap();
    }
    let mut reported = vec![0; events.len()];
    for _ in 0..operations(5000) {
        let cpu = random.below(cpus.into()) as u32;
        let flags = if random.below(8) == 0 { random.pick(&FLAGS) } else { BPF_F_CURRENT_CPU };
        let size = random.pick(&[0, 1, 3, 4, 5, 8, 12, 13, 100, 500, 4000, 4076, 4077, 4084]);
        pair.write(cpu, flags, size);
        if random.below(20) == 0 {
            let (theirs, lost) = events[cpu as usize].read();
            let ours: Vec<_> = std::iter::from_fn(|| pair.events.get().read(Some(cpu))).collect();
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                // The kernel's has up to seven bytes of padding, in which is what was there before.
                assert_eq!(theirs.len(), (ours.data.len() + 4).next_multiple_of(8) - 4);
                assert_eq!(ours.data, theirs[..ours.data.len()]);
            }
            reported[cpu as usize] += lost;
        }
    }
    // What was lost is reported with the next record that finds room.
    for (cpu, event) in events.iter().enumerate() {
        reported[cpu] += event.read().1;
        while pair.events.get().read(Some(cpu as u32)).is_some() {}
        pair.write(cpu as u32, BPF_F_CURRENT_CPU, 8);
        reported[cpu] += event.read().1;
        assert_eq!(pair.events.get().lost()[cpu], (cpu as u32, reported[cpu]));
        assert!(reported[cpu] > 100, "{}", reported[cpu]);
    }
    // An entry that is deleted has no reader.
    pair.theirs.delete(&[0; 4]).unwrap();
    pair.events.0.delete_user(&[0; 4]).unwrap();
    pair.write(0, BPF_F_CURRENT_CPU, 8);
}

#[test]
fn the_largest_record() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let pair = Pair::new(1);
    let event = Event::open(0, 64 * PAGE);
    pair.theirs.update(&[0; 4], &event.fd.as_raw_fd().to_le_bytes(), 0).unwrap();
    pair.events.get().open(0, 64 * PAGE as u64).unwrap();
    pair.write(0, BPF_F_CURRENT_CPU, axebpf_core::map::MAX_DATA);
    assert_eq!(event.read().0[0][..], pair.data[..axebpf_core::map::MAX_DATA]);
    // One more: the header's sixteen bits are too few for its length, which becomes 0.
    assert_eq!(pair.program.run(0, [BPF_F_CURRENT_CPU, axebpf_core::map::MAX_DATA as u64 + 1, 0]), 0);
    // SAFETY: the mapped pages; the record begins where the one before it ended.
    let len = unsafe { event.pages.add(PAGE + 65528 + 6).cast::<u16>().read_volatile() };
    assert_eq!(len, 0);
}
