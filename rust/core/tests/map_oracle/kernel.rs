//! The running kernel's maps, through bpf(2).

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use axebpf_core::map::{Entries, Keys, MapSpec};

use super::function_info::{btf, function_info, functions};

/// The kernel whose answers axebpf gives. Others differ in places, so the tests run on it alone.
const RELEASE: &str = "6.18";

const MAP_CREATE: i64 = 0;
const MAP_LOOKUP: i64 = 1;
const MAP_UPDATE: i64 = 2;
const MAP_DELETE: i64 = 3;
const MAP_NEXT_KEY: i64 = 4;
const PROG_LOAD: i64 = 5;
const PROG_TEST_RUN: i64 = 10;
const OBJECT_INFO: i64 = 15;
const BTF_LOAD: i64 = 18;
const MAP_LOOKUP_AND_DELETE: i64 = 21;
const MAP_FREEZE: i64 = 22;
const MAP_LOOKUP_BATCH: i64 = 24;
const MAP_LOOKUP_AND_DELETE_BATCH: i64 = 25;
const MAP_UPDATE_BATCH: i64 = 26;
const MAP_DELETE_BATCH: i64 = 27;

/// `union bpf_attr`, filled field by field at the offsets of the kernel's header.
pub struct Attr([u64; 18]);

impl Attr {
    pub fn new() -> Attr {
        Attr([0; 18])
    }

    pub fn u32(mut self, offset: usize, value: u32) -> Attr {
        let shift = offset % 8 * 8;
        self.0[offset / 8] |= u64::from(value) << shift;
        self
    }

    pub fn u64(mut self, offset: usize, value: u64) -> Attr {
        self.0[offset / 8] = value;
        self
    }

    pub fn call(&mut self, command: i64) -> Result<i64, i32> {
        // SAFETY: the attributes are 144 bytes; every pointer in them is to a buffer of the caller of the size that
        // the command takes from the map or the program.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), size_of_val(&self.0)) };
        if result < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
    }
}

pub fn owned(fd: i64) -> OwnedFd {
    // SAFETY: bpf(2) has just returned this descriptor to us.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Why the kernel cannot be asked, if so.
pub fn unavailable() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if !release.starts_with(RELEASE) {
        return Some(format!("the oracle is Linux {RELEASE}, this is {}", release.trim()));
    }
    let probe = Attr::new().u32(0, 2).u32(4, 4).u32(8, 8).u32(12, 1).call(MAP_CREATE).map(owned);
    probe.err().map(|errno| format!("bpf(2) is not permitted (errno {errno})"))
}

/// CPUs that a per-CPU value has parts for.
pub fn cpus() -> u32 {
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs");
    possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok()).map_or(1, |last| last + 1)
}

/// Keeps this thread on CPU 0, so that per-CPU free lists of the kernel do not matter.
pub fn pin() {
    // SAFETY: a zeroed set is a valid one; the call reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

pub struct KernelMap {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
    /// Whether a walk in batches goes on at a bucket, rather than behind a key.
    walks_by_bucket: bool,
}

impl KernelMap {
    pub fn create(spec: &MapSpec, cpus: u32) -> Result<KernelMap, i32> {
        KernelMap::create_with(spec, cpus, 0)
    }

    /// As [`KernelMap::create`]; `inner` is the descriptor of a map that those in a map of maps must be like.
    pub fn create_with(spec: &MapSpec, cpus: u32, inner: i32) -> Result<KernelMap, i32> {
        KernelMap::create_typed(spec, cpus, inner, [0; 3])
    }

    /// As [`KernelMap::create_with`]; `types` are the descriptor of BTF and the types of key and value in it.
    pub fn create_typed(spec: &MapSpec, cpus: u32, inner: i32, types: [u32; 3]) -> Result<KernelMap, i32> {
        let [btf, key, value] = types;
        let attr = Attr::new().u32(0, spec.kind as u32).u32(4, spec.key_size).u32(8, spec.value_size);
        let attr = attr.u32(12, spec.max_entries).u32(16, spec.flags).u32(20, inner as u32).u64(64, spec.extra);
        let attr = attr.u32(48, btf).u32(52, key).u32(56, value);
        let fd = { attr }.call(MAP_CREATE).map(owned)?;
        let padded = (spec.value_size as usize).next_multiple_of(8);
        let value_size = if spec.kind.is_per_cpu() { padded * cpus as usize } else { spec.value_size as usize };
        let walks_by_bucket = spec.kind.rules().is_some_and(|rules| rules.keys == Keys::Bytes);
        Ok(KernelMap { fd, key_size: spec.key_size as usize, value_size, walks_by_bucket })
    }

    pub fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn element(&self, command: i64, key: &[u8], value: *mut u8, flags: u64) -> Result<(), i32> {
        assert_eq!(key.len(), self.key_size);
        let key = if key.is_empty() { 0 } else { key.as_ptr() as u64 };
        let attr = Attr::new().u32(0, self.fd() as u32).u64(8, key).u64(16, value as u64);
        { attr.u64(24, flags) }.call(command).map(|_| ())
    }

    fn read(&self, command: i64, key: &[u8], flags: u64) -> Result<Vec<u8>, i32> {
        let mut value = vec![0xee; self.value_size.max(8)];
        self.element(command, key, value.as_mut_ptr(), flags)?;
        value.truncate(self.value_size);
        Ok(value)
    }

    pub fn lookup(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, i32> {
        self.read(MAP_LOOKUP, key, flags)
    }

    /// Whether a bloom filter takes a value for present.
    pub fn contains(&self, value: &[u8], flags: u64) -> Result<(), i32> {
        self.element(MAP_LOOKUP, &[], value.as_ptr().cast_mut(), flags)
    }

    pub fn lookup_and_delete(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, i32> {
        self.read(MAP_LOOKUP_AND_DELETE, key, flags)
    }

    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32> {
        self.element(MAP_UPDATE, key, value.as_ptr().cast_mut(), flags)
    }

    pub fn delete(&self, key: &[u8]) -> Result<(), i32> {
        self.element(MAP_DELETE, key, std::ptr::null_mut(), 0)
    }

    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, i32> {
        let mut next = vec![0xee; self.key_size.max(8)];
        let key = key.map_or(0, |key| key.as_ptr() as u64);
        let attr = Attr::new().u32(0, self.fd() as u32).u64(8, key).u64(16, next.as_mut_ptr() as u64);
        { attr }.call(MAP_NEXT_KEY)?;
        next.truncate(self.key_size);
        Ok(next)
    }

    fn batch(&self, command: i64, pointers: [*const u8; 4], count: usize, flags: u64) -> (Result<(), i32>, u32) {
        let [from, next, keys, values] = pointers.map(|pointer| pointer as u64);
        let attr = Attr::new().u64(0, from).u64(8, next).u64(16, keys).u64(24, values);
        let mut attr = attr.u32(32, count as u32).u32(36, self.fd() as u32).u64(40, flags);
        let result = attr.call(command).map(|_| ());
        (result, attr.0[4] as u32)
    }

    /// A batch of a walk, which takes the entries out where `remove`.
    pub fn walk(&self, from: Option<&[u8]>, count: usize, remove: bool, flags: u64) -> (Result<(), i32>, Entries) {
        let mut keys = vec![0xee; count * self.key_size + 1];
        let mut values = vec![0xee; count * self.value_size + 1];
        let mut next = vec![0xee; self.key_size.max(8)];
        let command = if remove { MAP_LOOKUP_AND_DELETE_BATCH } else { MAP_LOOKUP_BATCH };
        let from = from.map_or(std::ptr::null(), <[u8]>::as_ptr);
        let pointers = [from, next.as_mut_ptr(), keys.as_mut_ptr(), values.as_mut_ptr()];
        let (result, done) = self.batch(command, pointers, count, flags);
        // Where it did not begin, it has not set the count.
        let done = if matches!(result, Ok(()) | Err(libc::ENOENT)) { done } else { 0 };
        keys.truncate(done as usize * self.key_size);
        values.truncate(done as usize * self.value_size);
        next.truncate(if self.walks_by_bucket { size_of::<u32>() } else { self.key_size });
        (result, Entries { keys, values, count: done, next })
    }

    pub fn update_batch(&self, entries: &[(&[u8], &[u8])], flags: u64) -> Result<(), (u32, i32)> {
        let keys: Vec<u8> = entries.iter().flat_map(|(key, _)| key.iter().copied()).collect();
        let values: Vec<u8> = entries.iter().flat_map(|(_, value)| value.iter().copied()).collect();
        self.write_batch(MAP_UPDATE_BATCH, &keys, &values, entries.len(), flags)
    }

    pub fn delete_batch(&self, keys: &[&[u8]], flags: u64) -> Result<(), (u32, i32)> {
        self.write_batch(MAP_DELETE_BATCH, &keys.concat(), &[], keys.len(), flags)
    }

    fn write_batch(
        &self,
        command: i64,
        keys: &[u8],
        values: &[u8],
        count: usize,
        flags: u64,
    ) -> Result<(), (u32, i32)> {
        let none = std::ptr::null();
        let (result, done) = self.batch(command, [none, none, keys.as_ptr(), values.as_ptr()], count, flags);
        // Where it did not begin, it has not set the count.
        result.map_err(|errno| (if done as usize == count { 0 } else { done }, errno))
    }

    pub fn freeze(&self) -> Result<(), i32> {
        Attr::new().u32(0, self.fd() as u32).call(MAP_FREEZE).map(|_| ())
    }
}

/// `enum bpf_prog_type`: the type that the kernel runs on request with any context.
pub const RAW_TRACEPOINT: u32 = 17;
/// `enum bpf_prog_type`.
pub const XDP: u32 = 6;

/// `enum bpf_prog_type`.
pub const SYSCALL: u32 = 31;
/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;

/// The id of a map or program, which is what looking it up gives.
pub fn id_of(fd: i32) -> u32 {
    let mut info = [0_u32; 64];
    let attr = Attr::new().u32(0, fd as u32).u32(4, size_of_val(&info) as u32).u64(8, info.as_mut_ptr() as u64);
    { attr }.call(OBJECT_INFO).expect("an open map or program");
    info[1] // behind the type
}

/// A raw tracepoint program, which the kernel runs on request.
pub struct Program(OwnedFd);

impl Program {
    pub fn load(insns: &[[u8; 8]]) -> Program {
        match Program::load_as(RAW_TRACEPOINT, insns) {
            Ok(program) => program,
            Err((errno, log)) => panic!("errno {errno}: {log}"),
        }
    }

    /// Loads a program of any type; else the errno, and what the verifier says.
    pub fn load_as(program_type: u32, insns: &[[u8; 8]]) -> Result<Program, (i32, String)> {
        let attr = Attr::new().u32(0, program_type).u32(4, insns.len() as u32).u64(8, insns.as_ptr() as u64);
        // Of this type all programs may sleep.
        let flags = if program_type == SYSCALL { SLEEPABLE } else { 0 };
        let mut attr = attr.u64(16, c"GPL".as_ptr() as u64).u32(44, flags);
        let (starts, btf) = (functions(insns), btf());
        let info = function_info(&starts);
        let btf_fd; // open until the program is loaded
        if starts.len() > 1 {
            let load = Attr::new().u64(0, btf.as_ptr() as u64).u32(16, btf.len() as u32);
            btf_fd = owned({ load }.call(BTF_LOAD).map_err(|errno| (errno, "BTF".to_owned()))?);
            attr = attr.u32(72, btf_fd.as_raw_fd() as u32).u32(76, size_of::<[u32; 2]>() as u32);
            attr = attr.u64(80, info.as_ptr() as u64).u32(88, info.len() as u32);
        }
        attr.call(PROG_LOAD).map(|fd| Program(owned(fd))).map_err(|errno| {
            // Once more, to be told why.
            let mut log = vec![0_u8; 1 << 20];
            let again = std::mem::replace(&mut attr, Attr::new()).u32(24, 1).u32(28, log.len() as u32);
            let again = { again.u64(32, log.as_mut_ptr() as u64) }.call(PROG_LOAD).map(owned).err();
            (again.unwrap_or(errno), String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned())
        })
    }

    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Runs it on a CPU with these arguments; gives its return value.
    pub fn run(&self, cpu: u32, args: [u64; 3]) -> i32 {
        const ON_CPU: u32 = 1;
        let attr = Attr::new().u32(0, self.0.as_raw_fd() as u32).u32(40, size_of_val(&args) as u32);
        let mut attr = attr.u64(48, args.as_ptr() as u64).u32(64, ON_CPU).u32(68, cpu);
        attr.call(PROG_TEST_RUN).expect("the program runs");
        (attr.0[0] >> 32) as i32
    }
}

/// The consumer's side of a ring buffer of the kernel: its pages, mapped.
pub struct Ring {
    consumer: *mut u8,
    data: *mut u8,
    size: usize,
}

const PAGE: usize = 4096;

impl KernelMap {
    /// Maps a ring buffer of `size` bytes; the mapping lasts as long as the process.
    pub fn ring(&self, size: usize) -> Ring {
        let map = |len, protection, offset| {
            // SAFETY: a fresh mapping, whose address the kernel chooses.
            let at = unsafe {
                libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, self.fd(), offset as libc::off_t)
            };
            assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
            at.cast::<u8>()
        };
        let consumer = map(PAGE, libc::PROT_READ | libc::PROT_WRITE, 0);
        Ring { consumer, data: map(PAGE + 2 * size, libc::PROT_READ, PAGE), size }
    }
}

/// Someone who waits for records of a ring buffer.
pub struct Waiter(OwnedFd);

impl Waiter {
    pub fn new(ring: &KernelMap) -> Waiter {
        // SAFETY: the calls read the event, and the descriptors are open.
        let waiter = unsafe {
            let epoll = libc::epoll_create1(0);
            assert!(epoll >= 0, "{}", std::io::Error::last_os_error());
            let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
            assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, ring.fd(), &raw mut event), 0);
            Waiter(owned(epoll.into()))
        };
        waiter.woken();
        waiter
    }

    /// Whether it has been woken since it last asked.
    pub fn woken(&self) -> bool {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for one event.
        unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, 0) == 1 }
    }
}

impl Ring {
    /// How far the consumer and the producer are.
    pub fn positions(&self) -> [u64; 2] {
        // SAFETY: the mapped pages of the two; no program runs now.
        [self.consumer, self.data].map(|page| unsafe { page.cast::<u64>().read_volatile() })
    }

    /// All bytes of the ring.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the mapped pages, as in `next`.
        unsafe { std::slice::from_raw_parts(self.data.add(PAGE), self.size) }.to_vec()
    }

    /// The next record that is not discarded.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        // SAFETY: the mapped pages: the consumer's position, the producer's, and the data twice; no program runs now.
        unsafe {
            loop {
                let position = self.consumer.cast::<u64>().read_volatile();
                if position == self.data.cast::<u64>().read_volatile() {
                    return None;
                }
                let record = self.data.add(PAGE + position as usize % self.size);
                let word = record.cast::<u32>().read_volatile();
                assert_eq!(word >> 31, 0, "nothing is left reserved");
                let len = (word & !(3 << 30)) as usize;
                self.consumer.cast::<u64>().write_volatile(position + (len as u64 + 8).next_multiple_of(8));
                if word >> 30 == 0 {
                    return Some(std::slice::from_raw_parts(record.add(8), len).to_vec());
                }
            }
        }
    }
}
