//! The running kernel's verdict on programs.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use axebpf_core::isa::{Imm64, Insn, Op, decode, encode, starts};
use axebpf_core::program::{Program, ProgramType};
use axebpf_core::verifier::MapFacts;

use super::kernel::{KernelMap, unavailable};

const PROG_LOAD: i64 = 5;
const BTF_LOAD: i64 = 18;
const SLEEPABLE: u32 = 1 << 4;

/// `union bpf_attr`, filled at the offsets of the kernel's header.
struct Attr([u8; 144]);

impl Attr {
    fn u32(mut self, offset: usize, value: u32) -> Attr {
        self.0[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Attr {
        self.0[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn open(mut self, command: i64) -> Result<OwnedFd, i32> {
        // SAFETY: 144 bytes of attributes; the buffers that they point to live in the callers.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), self.0.len()) };
        match i32::try_from(result) {
            // SAFETY: bpf(2) has just opened it for us.
            Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    }
}

/// Linux's number of a type of program (`enum bpf_prog_type`), if it has it.
pub fn number_of(program_type: ProgramType) -> Option<u32> {
    Some(match program_type {
        ProgramType::SocketFilter => 1,
        ProgramType::Kprobe => 2,
        ProgramType::Tracepoint => 5,
        ProgramType::Xdp => 6,
        ProgramType::PerfEvent => 7,
        ProgramType::RawTracepoint => 17,
        ProgramType::Syscall => 31,
        ProgramType::Axvisor | ProgramType::Mem => return None,
    })
}

/// The kernel, with the maps of the tests.
pub struct Oracle {
    maps: Vec<KernelMap>,
    _inner: Vec<KernelMap>,
}

impl Oracle {
    /// The kernel with maps like these, or why it cannot be asked.
    pub fn open(facts: &[MapFacts]) -> Result<Oracle, String> {
        if let Some(reason) = unavailable() {
            return Err(reason);
        }
        let (mut maps, mut inner) = (Vec::new(), Vec::new());
        for facts in facts {
            let failed = |errno: i32| format!("{}: errno {errno}", facts.spec.name);
            let fd = match &facts.inner {
                Some(spec) => {
                    inner.push(KernelMap::create(spec, 1).map_err(failed)?);
                    inner[inner.len() - 1].fd()
                }
                None => 0,
            };
            let map = KernelMap::create_with(&facts.spec, 1, fd).map_err(failed)?;
            if let Some(value) = &facts.constant {
                map.update(&[0; 4], value, 0).and_then(|()| map.freeze()).map_err(failed)?;
            }
            maps.push(map);
        }
        Ok(Oracle { maps, _inner: inner })
    }

    /// Instructions with descriptors in place of slots.
    fn linked(&self, insns: &[Insn]) -> Vec<[u8; 8]> {
        let mut insns = insns.to_vec();
        let at: Vec<usize> = starts(&insns).collect();
        for at in at {
            if insns[at].code == 0x18
                && matches!(insns[at].src, 1 | 2)
                && let Some(map) = usize::try_from(insns[at].imm).ok().and_then(|slot| self.maps.get(slot))
            {
                insns[at].imm = map.fd();
            }
        }
        insns.into_iter().map(Insn::to_bytes).collect()
    }

    /// The verdict; where it is no, what the verifier says.
    pub fn verdict(&self, program: &Program) -> Result<(), String> {
        let quick = self.load(program, &mut []);
        if quick.is_ok() {
            return Ok(());
        }
        let mut log = vec![0_u8; 1 << 20];
        let errno = self.load(program, &mut log).err().unwrap_or(0);
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        Err(format!("{}errno {errno}", String::from_utf8_lossy(&log[..end])))
    }

    /// Whether it loads.
    pub fn accepts(&self, program: &Program) -> bool {
        self.load(program, &mut []).is_ok()
    }

    fn load(&self, program: &Program, log: &mut [u8]) -> Result<OwnedFd, i32> {
        let program_type = program.program_type.and_then(number_of).expect("a type that Linux has");
        let insns = self.linked(&program.insns);
        let license = CString::new(program.license.as_str()).unwrap();
        let functions = functions(&program.insns);
        let btf = (functions.len() > 1).then(|| load_btf(functions.len())).flatten();
        let info: Vec<u32> =
            functions.iter().enumerate().flat_map(|(index, start)| [*start as u32, 3 + index as u32]).collect();
        let flags = if program.program_type == Some(ProgramType::Syscall) { SLEEPABLE } else { 0 };
        let mut attr = Attr([0; 144])
            .u32(0, program_type)
            .u32(4, insns.len() as u32)
            .u64(8, insns.as_ptr() as u64)
            .u64(16, license.as_ptr() as u64)
            .u32(44, flags);
        if !log.is_empty() {
            attr = attr.u32(24, 1).u32(28, log.len() as u32).u64(32, log.as_mut_ptr() as u64);
        }
        if let Some(btf) = &btf {
            attr = attr
                .u32(72, btf.as_raw_fd() as u32)
                .u32(76, 8)
                .u64(80, info.as_ptr() as u64)
                .u32(88, functions.len() as u32);
        }
        attr.open(PROG_LOAD)
    }
}

/// First slots of the functions of a program, as its calls name them.
fn functions(insns: &[Insn]) -> Vec<usize> {
    let mut functions = vec![0];
    for at in starts(insns) {
        let Ok((op, _)) = decode(insns, at) else { continue };
        if let (Op::CallLocal { .. } | Op::LoadImm64 { value: Imm64::Function { .. }, .. }, Some(offset)) =
            (op, op.target())
        {
            functions.extend(usize::try_from(at as i64 + 1 + i64::from(offset)).ok());
        }
    }
    functions.sort_unstable();
    functions.dedup();
    functions
}

/// Types for functions, which callbacks and tail calls from functions need: `int f(void *, void *, void *, void *)`, static.
fn load_btf(functions: usize) -> Option<OwnedFd> {
    let mut strings = b"\0int\0a\0".to_vec();
    let mut types: Vec<u32> = vec![1, 1 << 24, 4, 32 | 1 << 24]; // 1: int, signed, of 32 bits
    types.extend([0, 13 << 24, 1]); // 2: a prototype that returns it
    for index in 0..functions {
        let name = strings.len() as u32;
        strings.extend(format!("f{index}\0").bytes());
        types.extend([name, 12 << 24, 2]); // a static function of that prototype
    }
    let (types_len, strings_len) = (4 * types.len() as u32, strings.len() as u32);
    let header: [u32; 6] = [0x1_eb9f, 24, 0, types_len, types_len, strings_len];
    let mut blob: Vec<u8> = header.iter().chain(&types).flat_map(|word| word.to_le_bytes()).collect();
    blob[2] = 1;
    blob[3] = 0;
    blob.extend(strings);
    Attr([0; 144]).u64(0, blob.as_ptr() as u64).u32(16, blob.len() as u32).open(BTF_LOAD).ok()
}
