//! The running Linux kernel as the judge of encodings and notation: what its verifier says of single instructions.
//!
//! Needs bpf(2) as root; skipped with a reason elsewhere.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use axebpf_core::isa::{Imm64, Insn, Names, Op, assemble, decode, encode, text};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// The front of `union bpf_attr` for PROG_LOAD (UAPI `linux/bpf.h`).
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// Loads a socket filter at log level 2; the verifier's log, and whether it was accepted.
fn load(program: &[Insn], log: &mut [u8]) -> (io::Result<()>, String) {
    let code: Vec<u8> = program.iter().flat_map(|insn| insn.to_bytes()).collect();
    log[0] = 0;
    let attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
        insn_cnt: program.len() as u32,
        insns: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 2,
        log_size: log.len() as u32,
        log_buf: log.as_mut_ptr() as u64,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: `attr` names buffers that live until after the call, with their true lengths; the kernel writes to the
    // log only.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<ProgLoad>()) };
    let result = if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    if fd >= 0 {
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        unsafe { libc::close(fd as i32) };
    }
    let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
    (result, String::from_utf8_lossy(&log[..end]).into_owned())
}

/// What the verifier says where the encoding of an instruction, rather than what it does, is wrong.
const ENCODING: [&str; 6] = [
    "reserved fields",
    "unknown opcode",
    "invalid atomic op",
    "invalid bpf_ld_imm64",
    "unrecognized bpf_ld_imm64",
    "BPF_LD mode",
];

fn is_encoding_error(log: &str) -> bool {
    // "R11 is invalid"; for registers that exist the verifier has other words.
    let no_register = log.lines().any(|l| l.starts_with('R') && l.ends_with(" is invalid"));
    no_register || ENCODING.iter().any(|words| log.contains(words))
}

/// A program around the instruction under test, which stands in slot `at`. r2 is stack memory, r3 a number, r6 the
/// packet; a branch skips the instruction, so that what follows it can be reached in any case.
fn around(tested: &[Insn]) -> (Vec<Insn>, usize) {
    let before = format!(
        "r6 = r1\ncall x#7\nr2 = r10\nr2 += -64\nr3 = 3\n*(u64 *)(r10 -64) = 0\n*(u64 *)(r10 -56) = 0\n\
         if r0 == 0x7 goto +{}\n",
        tested.len()
    );
    // The function that a local call needs; without the call it would be unreachable.
    let is_local_call = (tested[0].code, tested[0].src) == (0x85, 1);
    let after = if is_local_call { "r0 = 0\nr0 = 0\nexit\nr0 = 0\nexit\n" } else { "r0 = 0\nr0 = 0\nexit\n" };
    let mut program = assemble(&before).unwrap();
    let at = program.len();
    program.extend(tested);
    program.extend(assemble(after).unwrap());
    (program, at)
}

/// Distance from the tested instruction to the function at the end of the program.
const FUNCTION: i32 = 3;

fn candidates() -> impl Iterator<Item = Vec<Insn>> {
    const DST: [u8; 4] = [2, 3, 0, 11];
    const SRC: [u8; 7] = [0, 1, 2, 3, 4, 7, 11];
    const OFF: [i16; 5] = [0, 1, 2, 8, 32];
    const IMM: [i32; 13] = [0, 1, FUNCTION, 5, 16, 24, 64, 0x40, 0xe0, 0xe1, 0xf1, 0x100, 0x110];
    let all = (0..=255u8).flat_map(|code| {
        DST.into_iter().flat_map(move |dst| {
            SRC.into_iter().flat_map(move |src| {
                OFF.into_iter().flat_map(move |off| IMM.into_iter().map(move |imm| Insn { code, dst, src, off, imm }))
            })
        })
    });
    // Of what has more than one unusual field, every 17th.
    let sparse = all.enumerate().filter(|(n, insn)| {
        let fields = [insn.dst > 3, insn.src > 3, insn.off != 0, insn.imm != 0];
        fields.iter().filter(|&&set| set).count() <= 1 || n % 17 == 0
    });
    let single = sparse.map(|(_, insn)| insn);
    single.flat_map(|insn| {
        let seconds: &[Insn] = match insn.code {
            0x18 => &[
                Insn { code: 0, dst: 0, src: 0, off: 0, imm: 0 },
                Insn { code: 0, dst: 0, src: 0, off: 0, imm: -1 },
                Insn { code: 0, dst: 0, src: 0, off: 1, imm: 0 },
                Insn { code: 0, dst: 1, src: 0, off: 0, imm: 0 },
                Insn { code: 0, dst: 0, src: 1, off: 0, imm: 0 },
                Insn { code: 5, dst: 0, src: 0, off: 0, imm: 0 },
            ],
            _ => return vec![vec![insn]],
        };
        seconds.iter().map(|&second| vec![insn, second]).collect()
    })
}

/// What the log prints for a slot, without the state that follows it.
fn printed(log: &str, at: usize, code: u8) -> Option<&str> {
    let start = format!("{at}: ({code:02x}) ");
    let line = log.lines().find_map(|line| line.strip_prefix(&start))?;
    Some(line.split("  ;").next()?.split(" ; ").next()?.trim_end())
}

fn ours(op: &Op, log_text: &str) -> String {
    // The helper's name is the kernel's to give.
    let name = log_text.strip_prefix("call ").and_then(|call| call.split('#').next()).map(str::to_owned);
    let named = |_| name.as_deref();
    let text = text::instruction(op, &Names { helper: &named, ..Names::none() });
    text.strip_suffix(" ll").map_or(text.clone(), str::to_owned)
}

#[test]
fn the_verifier_agrees_on_encodings_and_prints_the_same() {
    let mut log = vec![0; 1 << 20];
    let (usable, _) = load(&assemble("r0 = 0\nexit").unwrap(), &mut log);
    if let Err(error) = usable {
        eprintln!("skipped: the kernel's bpf(2) is not available: {error}");
        return;
    }

    let mut wrong = BTreeMap::<u8, Vec<String>>::new();
    let (mut accepted, mut refused, mut compared) = (BTreeSet::new(), 0, BTreeSet::new());
    for tested in candidates() {
        let code = tested[0].code;
        let (program, at) = around(&tested);
        let (result, log) = load(&program, &mut log);
        let decoded = decode(&program, at);
        let mut complain = |what: String| wrong.entry(code).or_default().push(format!("{tested:?}: {what}"));
        match (&decoded, &result) {
            (Err(error), Ok(())) => complain(format!("the kernel takes it, we say {error}")),
            (Ok(op), Err(_)) if is_encoding_error(&log) && !matches!(op.0, Op::CallRegister { .. }) => {
                complain(format!("we take it, the kernel says {log}"));
            }
            (Ok(_), Ok(())) => _ = accepted.insert(code),
            (Err(_), Err(_)) => refused += usize::from(is_encoding_error(&log)),
            (Ok(_), Err(_)) => {}
        }
        let Ok((op, _)) = decoded else { continue };
        // Addresses of maps, functions and kernel symbols differ from run to run.
        let address = matches!(op, Op::LoadImm64 { value, .. } if !matches!(value, Imm64::Value(_)));
        if address || matches!(op, Op::CallKfunc { .. }) {
            continue;
        }
        if let Some(line) = printed(&log, at, code) {
            compared.insert(code);
            if ours(&op, line) != line {
                complain(format!("the kernel prints {line:?}, we {:?}", ours(&op, line)));
            }
        }
    }
    for (code, messages) in &wrong {
        eprintln!("{code:#04x}: {} differences; {}", messages.len(), messages[0]);
    }
    assert!(wrong.is_empty());
    eprintln!("accepted {}, refused {refused}, texts compared {}", accepted.len(), compared.len());

    // Every opcode that we know was accepted by the kernel in some form, and its text compared.
    let known: BTreeSet<u8> =
        candidates().filter_map(|c| decode(&c, 0).ok()).map(|(op, _)| encode(&op).0.code).collect();
    let callx = 0x8d;
    let missing: Vec<_> = known.iter().filter(|&&code| code != callx && !accepted.contains(&code)).collect();
    assert!(missing.is_empty(), "never accepted: {missing:x?}");
    let missing: Vec<_> = known.iter().filter(|&&code| code != callx && !compared.contains(&code)).collect();
    assert!(missing.is_empty(), "text never compared: {missing:x?}");
}
