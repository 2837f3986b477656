//! The running kernel as an oracle: small programs through bpf(2), their trace through tracefs.

#![allow(dead_code)] // each test binary uses its part

use std::ffi::CString;
use std::fs;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The kernel that the expectations were asked of; others may differ.
const RELEASE: &str = "6.18.";
const TRACING: &str = "/sys/kernel/tracing";
/// Bytes of the map that a program works on.
const MAP_BYTES: usize = 8192;

const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_LOOKUP_ELEM: i32 = 1;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_TEST_RUN: i32 = 10;
const BPF_F_SLEEPABLE: u32 = 1 << 4;
/// `BPF_PROG_TYPE_SYSCALL`.
pub const SYSCALL: u32 = 31;

/// An instruction.
pub type Insn = [u8; 8];

pub fn insn(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    let [off0, off1] = off.to_le_bytes();
    let [a, b, c, d] = imm.to_le_bytes();
    [opcode, dst | src << 4, off0, off1, a, b, c, d]
}

pub fn mov(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

pub fn call(id: u32) -> Insn {
    insn(0x85, 0, 0, 0, id as i32)
}

pub const EXIT: Insn = [0x95, 0, 0, 0, 0, 0, 0, 0];

pub fn number(dst: u8, value: u64) -> [Insn; 2] {
    [insn(0x18, dst, 0, 0, value as i32), insn(0, 0, 0, 0, (value >> 32) as i32)]
}

/// The arguments of bpf(2), packed by hand.
#[derive(Default)]
struct Attr(Vec<u8>);

impl Attr {
    fn u32(mut self, value: u32) -> Attr {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Attr {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn call(&mut self, command: i32) -> Result<i32, Error> {
        self.0.resize(128, 0);
        // SAFETY: the attributes are 128 bytes, and the addresses in them are of buffers that the callers hold.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len()) };
        if result < 0 { Err(Error::last_os_error()) } else { Ok(result as i32) }
    }

    fn open(&mut self, command: i32) -> Result<OwnedFd, Error> {
        let fd = self.call(command)?;
        // SAFETY: the kernel has just opened it for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// A kernel that may be asked, with a map for programs to work on.
pub struct Kernel {
    map: OwnedFd,
}

impl Kernel {
    /// The running kernel, or why it cannot be asked.
    pub fn open() -> Result<Kernel, String> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        if !release.starts_with(RELEASE) || !cfg!(target_arch = "x86_64") {
            return Err(format!("the expectations are those of Linux {RELEASE} on x86-64, this is {}", release.trim()));
        }
        let map = Attr::default().u32(2).u32(4).u32(MAP_BYTES as u32).u32(1).open(BPF_MAP_CREATE);
        Ok(Kernel { map: map.map_err(|error| format!("bpf(2): {error}"))? })
    }

    /// Instructions that load the address of the map's bytes.
    pub fn memory(&self, dst: u8, offset: i32) -> [Insn; 2] {
        [insn(0x18, dst, 2, 0, self.map.as_raw_fd()), insn(0, 0, 0, 0, offset)]
    }

    pub fn put(&self, bytes: &[u8]) {
        let (key, mut value) = (0_u32, bytes.to_vec());
        value.resize(MAP_BYTES, 0);
        self.element(&key, value.as_mut_ptr()).call(BPF_MAP_UPDATE_ELEM).unwrap();
    }

    pub fn get(&self) -> Vec<u8> {
        let (key, mut value) = (0_u32, vec![0; MAP_BYTES]);
        self.element(&key, value.as_mut_ptr()).call(BPF_MAP_LOOKUP_ELEM).unwrap();
        value
    }

    fn element(&self, key: &u32, value: *mut u8) -> Attr {
        let map = self.map.as_raw_fd() as u32;
        Attr::default().u32(map).u32(0).u64(std::ptr::from_ref(key) as u64).u64(value as u64)
    }

    /// Loads a program, or returns the verifier's log.
    pub fn load(&self, program_type: u32, code: &[Insn], license: &str) -> Result<OwnedFd, String> {
        self.load_with(program_type, code, license, &mut vec![0; 65536])
    }

    /// As `load`, with the log in `log`; none where that is empty.
    fn load_with(&self, program_type: u32, code: &[Insn], license: &str, log: &mut [u8]) -> Result<OwnedFd, String> {
        let license = CString::new(license).unwrap();
        let flags = if program_type == SYSCALL { BPF_F_SLEEPABLE } else { 0 };
        let mut attr = Attr::default()
            .u32(program_type)
            .u32(code.len() as u32)
            .u64(code.as_ptr() as u64)
            .u64(license.as_ptr() as u64)
            .u32(u32::from(!log.is_empty()))
            .u32(log.len() as u32)
            .u64(if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 })
            .u32(0)
            .u32(flags);
        attr.open(BPF_PROG_LOAD).map_err(|error| {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(0);
            format!("{error}: {}", String::from_utf8_lossy(&log[..end]))
        })
    }

    /// Loads and runs a syscall program: the low half of its r0, as a signed number.
    pub fn run(&self, code: &[Insn]) -> i64 {
        Kernel::test_run(&self.load(SYSCALL, code, "GPL").unwrap())
    }

    /// As `run`, without asking for the verifier's words, which makes it much faster; or the error of loading it.
    pub fn try_run(&self, code: &[Insn]) -> Result<i64, String> {
        self.load_with(SYSCALL, code, "GPL", &mut []).map(|program| Kernel::test_run(&program))
    }

    fn test_run(program: &OwnedFd) -> i64 {
        let context = [0_u64];
        let mut attr = Attr::default().u32(program.as_raw_fd() as u32);
        attr = attr.u32(0).u32(0).u32(0).u64(0).u64(0).u32(0).u32(0).u32(8).u32(0).u64(context.as_ptr() as u64);
        attr.call(BPF_PROG_TEST_RUN).unwrap();
        i32::from_le_bytes(attr.0[4..8].try_into().unwrap()).into()
    }
}

/// A trace of its own, of what `bpf_trace_printk` prints on this thread.
pub struct Trace(PathBuf);

impl Trace {
    pub fn open() -> Result<Trace, String> {
        if !Path::new(TRACING).join("instances").exists() {
            let (name, path) = (c"tracefs", CString::new(TRACING).unwrap());
            // SAFETY: the strings end with a NUL; no data is passed.
            unsafe { libc::mount(name.as_ptr(), path.as_ptr(), name.as_ptr(), 0, std::ptr::null()) };
        }
        // SAFETY: no arguments.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) };
        let trace = Trace(Path::new(TRACING).join(format!("instances/axebpf-helpers-{thread}")));
        fs::create_dir(&trace.0).map_err(|error| format!("no trace instance: {error}"))?;
        trace.write("set_event_pid", &thread.to_string())?;
        trace.write("events/bpf_trace/bpf_trace_printk/enable", "1")?;
        Ok(trace)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        fs::write(self.0.join(file), text).map_err(|error| format!("tracefs: {file}: {error}"))
    }

    pub fn clear(&self) {
        self.write("trace", "").unwrap();
    }

    /// The text printed since `clear`, if any.
    pub fn printed(&self) -> Option<Vec<u8>> {
        let trace = fs::read(self.0.join("trace")).unwrap();
        let mark = b"bpf_trace_printk: ";
        let start = trace.windows(mark.len()).position(|window| window == mark)? + mark.len();
        Some(trace[start..].strip_suffix(b"\n").unwrap().to_vec())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
