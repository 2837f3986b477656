//! The rows of the table of gaps: facts.

use super::{Effect, Gap, Part, Shown, Sign};
use crate::axvisor::flow::LDDW;
use crate::axvisor::{HELPERS as AXVISOR_HELPERS, KINDS};
use crate::isa::opcode::imm64::MAP_VALUE;
use crate::isa::opcode::{SOURCE_REGISTER, class};
use crate::isa::{Imm64, Insn, Op, decode};
use crate::map::{BPF_EXIST, MapKind};

// Helpers by the numbers that calls have.
const UPDATE: u32 = 2;
const DELETE: u32 = 3;
const PUSH: u32 = 87;

const RBPF: &str = "rbpf 0.4.1";
const KBPF: &str = "kbpf-basic 0.5.5";
const AXEBPF: &str = "axebpf 2383fa5";

const PLAIN: Gap = Gap {
    name: "",
    part: Part::Vm,
    effect: Effect::Differs,
    what: "",
    linux: "",
    axvisor: "",
    instead: "",
    version: RBPF,
    insn: None,
    sign: None,
    map: None,
    asm: "",
    shown: Shown::Result,
    on_linux: "",
    on_axvisor: "",
};
const VM_REFUSES: Gap = Gap { effect: Effect::Refused, ..PLAIN };
const MAPS: Gap = Gap { part: Part::Maps, version: KBPF, ..PLAIN };
const HELPERS: Gap = Gap { part: Part::Helpers, version: AXEBPF, ..PLAIN };
const CONTEXT: Gap = Gap { part: Part::Context, version: AXEBPF, shown: Shown::Event, ..PLAIN };

// Calls with the number `$key` as key and value, and `$flags`.
macro_rules! pointers {
    ($key:literal) => {
        concat!("*(u64 *)(r10 -8) = ", $key, "\nr1 = map[0]\nr2 = r10\nr2 += -8\n")
    };
}
macro_rules! lookup {
    ($key:literal) => {
        concat!(pointers!($key), "call bpf_map_lookup_elem#1\n")
    };
}
macro_rules! update {
    ($key:literal, $flags:literal) => {
        concat!(pointers!($key), "r3 = r2\nr4 = ", $flags, "\ncall bpf_map_update_elem#2\n")
    };
}
macro_rules! delete {
    ($key:literal) => {
        concat!(pointers!($key), "call bpf_map_delete_elem#3\n")
    };
}
macro_rules! push {
    ($value:literal, $flags:literal) => {
        concat!(pointers!($value), "r3 = ", $flags, "\ncall bpf_map_push_elem#87\n")
    };
}
/// Stores r6 in the first entry.
macro_rules! keep {
    () => {
        concat!(pointers!(0), "r3 = r10\nr3 += -16\n*(u64 *)(r3 +0) = r6\nr4 = 0\ncall bpf_map_update_elem#2\nexit")
    };
}

/// The operation bits of an arithmetic instruction, or none.
fn alu(insn: Insn) -> Option<u8> {
    matches!(insn.code & class::MASK, class::ALU | class::ALU64).then_some(insn.code & 0xf0)
}

fn is_store_of_mode(insn: Insn, mode: u8) -> bool {
    insn.code & class::MASK == class::STX && insn.code & 0xe0 == mode
}

/// All known gaps.
pub const GAPS: &[Gap] = &[
    // The VM: what it computes differently.
    Gap {
        name: "signed division",
        what: "sdiv and smod (-mcpu=v4)",
        linux: "divides signed numbers",
        axvisor: "divides them as unsigned ones",
        instead: "compile with -mcpu=v3",
        insn: Some(|insns, at| matches!(alu(insns[at]), Some(0x30 | 0x90)) && insns[at].off == 1),
        asm: "r0 = -7\nr0 s/= 2\nexit",
        on_linux: "0xfffffffffffffffd",
        on_axvisor: "0x7ffffffffffffffc",
        ..PLAIN
    },
    Gap {
        name: "sign-extending move",
        what: "movsx (-mcpu=v4)",
        linux: "extends the sign of 8, 16 or 32 bits",
        axvisor: "moves the register as it is",
        instead: "compile with -mcpu=v3",
        insn: Some(|insns, at| alu(insns[at]) == Some(0xb0) && insns[at].code & 8 != 0 && insns[at].off != 0),
        asm: "r1 = 0x1280\nr0 = (s8)r1\nexit",
        on_linux: "0xffffffffffffff80",
        on_axvisor: "0x1280",
        ..PLAIN
    },
    Gap {
        name: "64-bit jump with a negative constant",
        what: "==, !=, >, >=, <, <= of 64 bits with a negative constant",
        linux: "extends the constant's sign to 64 bits",
        axvisor: "puts zeroes into its upper half, so that r == -1 is false for -1",
        instead: "compare with a register",
        insn: Some(|insns, at| {
            let unsigned = matches!(insns[at].code & 0xf0, 0x10 | 0x20 | 0x30 | 0x50 | 0xa0 | 0xb0);
            insns[at].code & 0x0f == class::JMP && unsigned && insns[at].imm < 0
        }),
        asm: "r0 = 0\nr1 = -1\nif r1 != 0xffffffff goto +1\nr0 = 1\nexit",
        on_linux: "0x1",
        on_axvisor: "0x0",
        ..PLAIN
    },
    Gap {
        name: "32-bit remainder by zero",
        what: "w %= 0",
        linux: "keeps the lower half and clears the upper one",
        axvisor: "keeps the whole register",
        instead: "test for zero first",
        sign: Some(Sign::ZeroDivisor),
        insn: Some(|insns, at| {
            let insn = insns[at];
            let may_be_zero = insn.code & SOURCE_REGISTER != 0 || insn.imm == 0;
            alu(insn) == Some(0x90) && insn.code & class::MASK == class::ALU && may_be_zero
        }),
        asm: "r0 = -1\nr1 = 0\nw0 %= w1\nexit",
        on_linux: "0xffffffff",
        on_axvisor: "0xffffffffffffffff",
        ..PLAIN
    },
    Gap {
        name: "length of memory in r2",
        what: "r2 at the entry of a program of type mem",
        linux: "is the length of the memory (the bench's own type, and the conformance suite's)",
        axvisor: "is 0",
        instead: "",
        sign: Some(Sign::Length),
        asm: "r0 = r2\nexit",
        on_linux: "0x10",
        on_axvisor: "0x0",
        ..PLAIN
    },
    Gap {
        name: "frames of a local call",
        what: "stack of a function that calls another or is called",
        linux: "has 512 bytes, apart from those of others",
        axvisor: "has 256, none from the third frame on: all share 512, and what is deeper is the callee's too",
        instead: "keep frames below 256 bytes and one call deep, or inline the function",
        sign: Some(Sign::SharedFrame),
        asm: "*(u64 *)(r10 -264) = 1\ncall f\nr0 = *(u64 *)(r10 -264)\nexit\nf:\n*(u64 *)(r10 -8) = 2\nr0 = 0\nexit",
        on_linux: "0x1",
        on_axvisor: "0x2",
        ..PLAIN
    },
    Gap {
        name: "memory of a function that has returned",
        what: "access to the frame of a function that has returned",
        linux: "is refused",
        axvisor: "is let pass: it is the same 512 bytes",
        sign: Some(Sign::FormerFrame),
        asm: "call f\nr0 = *(u64 *)(r0 +0)\nexit\nf:\n*(u64 *)(r10 -8) = 5\nr0 = r10\nr0 += -8\nexit",
        on_linux: "no live memory there",
        on_axvisor: "0x5",
        ..PLAIN
    },
    Gap {
        name: "ninth frame",
        what: "eight nested local calls",
        linux: "eight frames are allowed",
        axvisor: "nine are",
        sign: Some(Sign::NinthFrame),
        asm: "call a\nexit\na:\ncall b\nexit\nb:\ncall c\nexit\nc:\ncall d\nexit\nd:\ncall e\nexit\ne:\ncall f\nexit\nf:\n\
              call g\nexit\ng:\ncall h\nexit\nh:\nr0 = 7\nexit",
        on_linux: "the call stack of 9 frames is too deep",
        on_axvisor: "0x7",
        ..PLAIN
    },
    Gap {
        name: "read-only context",
        what: "store to the context of a tracepoint program",
        linux: "is refused",
        axvisor: "is let pass: the VM has no read-only memory",
        sign: Some(Sign::ContextStore),
        asm: "*(u32 *)(r1 +8) = 7\nr0 = *(u32 *)(r1 +8)\nexit",
        on_linux: "this memory is read-only",
        on_axvisor: "0x7",
        part: Part::Context,
        version: AXEBPF,
        ..PLAIN
    },
    Gap {
        name: "reserved fields",
        what: "an instruction with something in a field that must be 0",
        linux: "is refused",
        axvisor: "is executed as if the field were 0",
        insn: Some(|insns, at| decode(insns, at).is_err()),
        asm: "r0 = 1\n.8byte 0x0000000100010007\nexit",
        on_linux: "which must be 0",
        on_axvisor: "0x2",
        ..PLAIN
    },
    Gap {
        name: "number into r10",
        what: "lddw into r10",
        linux: "is refused",
        axvisor: "moves the stack pointer",
        insn: Some(|insns, at| insns[at].code == LDDW && insns[at].dst == 10),
        asm: "r10 = 0x9 ll\nr0 = r10\nexit",
        on_linux: "the frame pointer is read only",
        on_axvisor: "0x9",
        ..PLAIN
    },
    // The VM: what it refuses.
    Gap {
        name: "atomic operation",
        what: "atomic operations, atomic add among them",
        linux: "executes them",
        axvisor: "refuses the program",
        instead: "use a key of its own for each CPU, and store with bpf_map_update_elem",
        insn: Some(|insns, at| is_store_of_mode(insns[at], 0xc0)),
        asm: "r2 = 1\nlock *(u64 *)(r1 +0) += r2\nr0 = *(u8 *)(r1 +0)\nexit",
        on_linux: "0x2",
        on_axvisor: "XADD instructions are not supported",
        ..VM_REFUSES
    },
    Gap {
        name: "byte swap",
        what: "bswap (-mcpu=v4)",
        linux: "executes it",
        axvisor: "refuses the program",
        instead: "compile with -mcpu=v3",
        insn: Some(|insns, at| insns[at].code == 0xd7),
        asm: "r0 = 1\nr0 = bswap16 r0\nexit",
        on_linux: "0x100",
        on_axvisor: "unknown eBPF opcode 0xd7",
        ..VM_REFUSES
    },
    Gap {
        name: "long jump",
        what: "gotol (-mcpu=v4)",
        linux: "executes it",
        axvisor: "refuses the program",
        instead: "compile with -mcpu=v3",
        insn: Some(|insns, at| insns[at].code == 0x06),
        asm: "r0 = 1\ngotol +1\nr0 = 2\nexit",
        on_linux: "0x1",
        on_axvisor: "unknown eBPF opcode 0x6",
        ..VM_REFUSES
    },
    Gap {
        name: "sign-extending load",
        what: "ldxsb, ldxsh, ldxsw (-mcpu=v4)",
        linux: "executes them",
        axvisor: "refuses the program",
        instead: "compile with -mcpu=v3",
        insn: Some(|insns, at| insns[at].code & 0xe7 == 0x81),
        asm: "*(u8 *)(r10 -1) = 128\nr0 = *(s8 *)(r10 -1)\nexit",
        on_linux: "0xffffffffffffff80",
        on_axvisor: "unknown eBPF opcode 0x91",
        ..VM_REFUSES
    },
    Gap {
        name: "may_goto",
        what: "may_goto",
        linux: "executes it",
        axvisor: "refuses the program",
        insn: Some(|insns, at| insns[at].code == 0xe5),
        asm: "r0 = 1\nmay_goto +0\nexit",
        on_linux: "0x1",
        on_axvisor: "unknown eBPF opcode 0xe5",
        ..VM_REFUSES
    },
    Gap {
        name: "call by register",
        what: "callx",
        linux: "is executed by the bench's interpreter; the kernel's verifier refuses it",
        axvisor: "refuses the program",
        insn: Some(|insns, at| insns[at].code == 0x8d),
        asm: "r3 = 8\ncallx r3\nexit",
        on_linux: "0x0",
        on_axvisor: "TAIL_CALL is not supported",
        ..VM_REFUSES
    },
    Gap {
        name: "address of a function",
        what: "lddw of a function, for helpers that call the program back",
        linux: "is a function pointer",
        axvisor: "is a number that leads nowhere; the bench refuses it",
        instead: "write the loop out",
        insn: Some(|insns, at| {
            matches!(decode(insns, at), Ok((Op::LoadImm64 { value: Imm64::Function { .. }, .. }, _)))
        }),
        asm: "r3 = subprog[f]\nr0 = 6\nexit\nf:\nr0 = 1\nexit",
        on_linux: "0x6",
        on_axvisor: "the address of a function",
        ..VM_REFUSES
    },
    // Maps.
    Gap {
        name: "hash full",
        what: "bpf_map_update_elem of a new key in a full hash map",
        linux: "E2BIG",
        axvisor: "ENOMEM (to a program on AxVisor: -1)",
        instead: "test for failure, not for an errno",
        sign: Some(Sign::Errno(|call| {
            call.on(UPDATE, &[MapKind::Hash]) && call.flags_may_be(3, |flags| flags != BPF_EXIST)
        })),
        map: Some((MapKind::Hash, 4, 8, 1)),
        asm: concat!(update!(1, 0), update!(2, 0), "exit"),
        on_linux: "0xfffffffffffffff9",
        on_axvisor: "0xfffffffffffffff4",
        ..MAPS
    },
    Gap {
        name: "delete of a missing key",
        what: "bpf_map_delete_elem of a key that a hash map does not have",
        linux: "ENOENT",
        axvisor: "0",
        instead: "look the key up first",
        sign: Some(Sign::Success(|call| call.on(DELETE, &[MapKind::Hash]))),
        map: Some((MapKind::Hash, 4, 8, 1)),
        asm: concat!(delete!(1), "exit"),
        on_linux: "0xfffffffffffffffe",
        on_axvisor: "0x0",
        ..MAPS
    },
    Gap {
        name: "delete of a missing key of an LRU hash",
        what: "bpf_map_delete_elem of a key that an LRU hash map does not have",
        linux: "ENOENT",
        axvisor: "0",
        instead: "look the key up first",
        sign: Some(Sign::Success(|call| call.on(DELETE, &[MapKind::LruHash]))),
        map: Some((MapKind::LruHash, 4, 8, 1)),
        asm: concat!(delete!(1), "exit"),
        on_linux: "0xfffffffffffffffe",
        on_axvisor: "0x0",
        ..MAPS
    },
    Gap {
        name: "array index out of range",
        what: "bpf_map_update_elem behind the end of an array",
        linux: "E2BIG",
        axvisor: "EINVAL",
        instead: "test for failure, not for an errno",
        sign: Some(Sign::Errno(|call| call.on(UPDATE, &[MapKind::Array]) && call.may_be_out_of_range())),
        map: Some((MapKind::Array, 4, 8, 1)),
        asm: concat!(update!(1, 0), "exit"),
        on_linux: "0xfffffffffffffff9",
        on_axvisor: "0xffffffffffffffea",
        ..MAPS
    },
    Gap {
        name: "delete in an array",
        what: "bpf_map_delete_elem of an array",
        linux: "EINVAL",
        axvisor: "EPERM",
        instead: "test for failure, not for an errno",
        sign: Some(Sign::Errno(|call| call.on(DELETE, &[MapKind::Array]))),
        map: Some((MapKind::Array, 4, 8, 1)),
        asm: concat!(delete!(0), "exit"),
        on_linux: "0xffffffffffffffea",
        on_axvisor: "0xffffffffffffffff",
        ..MAPS
    },
    Gap {
        name: "unknown flags of an array",
        what: "bpf_map_update_elem of an array with BPF_NOEXIST | BPF_EXIST",
        linux: "EINVAL",
        axvisor: "EEXIST",
        instead: "test for failure, not for an errno",
        sign: Some(Sign::Errno(|call| call.on(UPDATE, &[MapKind::Array]) && call.flags_may_be(3, |flags| flags == 3))),
        map: Some((MapKind::Array, 4, 8, 1)),
        asm: concat!(update!(0, 3), "exit"),
        on_linux: "0xffffffffffffffea",
        on_axvisor: "0xffffffffffffffef",
        ..MAPS
    },
    Gap {
        name: "queue by key",
        what: "bpf_map_update_elem, bpf_map_lookup_elem and bpf_map_delete_elem of a queue",
        linux: "is refused at load, by the verifier as by the bench",
        axvisor: "pushes the value, finds the oldest one, and refuses; its programs have no other helpers for a queue",
        instead: "use an array or a hash where the program is to run on both",
        sign: Some(Sign::Call(|call| [1, 2, 3].iter().any(|id| call.on(*id, &[MapKind::Queue])))),
        map: Some((MapKind::Queue, 0, 8, 1)),
        asm: concat!(update!(5, 0), lookup!(0), "if r0 == 0 goto +1\nr0 = *(u64 *)(r0 +0)\nexit"),
        on_linux: "MAP is a queue map",
        on_axvisor: "0x5",
        ..HELPERS
    },
    Gap {
        name: "queue full",
        what: "bpf_map_push_elem to a full queue",
        linux: "E2BIG",
        axvisor: "drops the oldest entry and answers 0",
        sign: Some(Sign::Call(|call| {
            call.on(PUSH, &[MapKind::Queue]) && call.flags_may_be(2, |flags| flags != BPF_EXIST)
        })),
        map: Some((MapKind::Queue, 0, 8, 1)),
        asm: concat!(push!(1, 0), push!(2, 0), "exit"),
        on_linux: "0xfffffffffffffff9",
        on_axvisor: "0x0",
        ..MAPS
    },
    Gap {
        name: "queue full with BPF_EXIST",
        what: "bpf_map_push_elem to a full queue with BPF_EXIST",
        linux: "drops the oldest entry and answers 0",
        axvisor: "EINVAL",
        instead: "push without flags, which drops the oldest entry there",
        sign: Some(Sign::Call(|call| {
            call.on(PUSH, &[MapKind::Queue]) && call.flags_may_be(2, |flags| flags == BPF_EXIST)
        })),
        map: Some((MapKind::Queue, 0, 8, 1)),
        asm: concat!(push!(1, 0), push!(2, 2), "exit"),
        on_linux: "0x0",
        on_axvisor: "0xffffffffffffffea",
        ..MAPS
    },
    Gap {
        name: "array of 4 GiB",
        effect: Effect::Refused,
        what: "an array of 2^32 bytes or more",
        linux: "is created, where there is memory",
        axvisor: "works the size out in 32 bits and panics at the first access; the bench refuses it",
        sign: Some(Sign::Map(|map| {
            map.kind == MapKind::Array && u64::from(map.value_size) * u64::from(map.max_entries) > u64::from(u32::MAX)
        })),
        map: Some((MapKind::Array, 4, 1 << 16, 1 << 16)),
        asm: concat!(lookup!(65535), "if r0 == 0 goto +1\nr0 = 1\nexit"),
        on_linux: "0x1",
        on_axvisor: "is at most 4294967295 bytes",
        ..MAPS
    },
    Gap {
        name: "other kinds of map",
        part: Part::Loader,
        effect: Effect::Refused,
        what: "a map that is no array, hash, LRU hash, queue or ring buffer",
        linux: "is created",
        axvisor: "the object is refused",
        sign: Some(Sign::Map(|map| !KINDS.contains(&map.kind))),
        map: Some((MapKind::PercpuArray, 4, 8, 1)),
        asm: concat!(lookup!(0), "if r0 == 0 goto +1\nr0 = 1\nexit"),
        on_linux: "0x1",
        on_axvisor: "AxVisor has no percpu_array maps",
        version: AXEBPF,
        ..MAPS
    },
    // The loader.
    Gap {
        name: "global variable",
        part: Part::Loader,
        what: "access to a global variable",
        linux: "is memory of the data section's map",
        axvisor: "is a number: the section's contents are dropped, and no address is put in",
        instead: "use a map",
        map: Some((MapKind::Array, 4, 8, 1)),
        insn: Some(|insns, at| insns[at].code == LDDW && insns[at].src == MAP_VALUE),
        asm: "r1 = map[0][0]+4\nr0 = *(u32 *)(r1 +0)\nexit",
        on_linux: "0x0",
        on_axvisor: "AxVisor's loader gives global variables no memory",
        version: AXEBPF,
        ..PLAIN
    },
    // The helper layer.
    Gap {
        name: "store through a looked-up value",
        what: "a store through the pointer that bpf_map_lookup_elem returned",
        linux: "is in the map",
        axvisor: "is lost: the pointer leads to a copy",
        instead: "store with bpf_map_update_elem",
        sign: Some(Sign::ValueStore),
        map: Some((MapKind::Array, 4, 8, 1)),
        asm: concat!(
            lookup!(0),
            "if r0 == 0 goto +6\n*(u64 *)(r0 +0) = 5\n",
            lookup!(0),
            "if r0 == 0 goto +1\nr0 = *(u64 *)(r0 +0)\nexit"
        ),
        on_linux: "0x5",
        on_axvisor: "0x0",
        ..HELPERS
    },
    Gap {
        name: "value looked up before an update",
        what: "a load through the pointer that bpf_map_lookup_elem returned, behind an update or delete",
        linux: "sees the value as it is now",
        axvisor: "sees it as it was: the pointer leads to a copy",
        instead: "look the key up again",
        sign: Some(Sign::StaleValue),
        map: Some((MapKind::Array, 4, 8, 1)),
        asm: concat!(
            lookup!(0),
            "if r0 == 0 goto +12\nr6 = r0\n",
            pointers!(0),
            "r3 = r10\nr3 += -16\n*(u64 *)(r3 +0) = 9\nr4 = 0\ncall bpf_map_update_elem#2\n",
            "r0 = *(u64 *)(r6 +0)\nexit"
        ),
        on_linux: "0x9",
        on_axvisor: "0x0",
        ..HELPERS
    },
    Gap {
        name: "errno of a helper",
        what: "the result of a helper that fails",
        linux: "is a negative errno (here EEXIST)",
        axvisor: "is -1",
        instead: "test for failure, not for an errno",
        sign: Some(Sign::Errno(|call| {
            (call.id == UPDATE && call.update_may_fail()) || call.on(DELETE, &[MapKind::Array])
        })),
        map: Some((MapKind::Hash, 4, 8, 1)),
        asm: concat!(update!(1, 1), update!(1, 1), "exit"),
        on_linux: "0xffffffffffffffef",
        on_axvisor: "0xffffffffffffffff",
        ..HELPERS
    },
    Gap {
        name: "helpers that AxVisor does not have",
        effect: Effect::Refused,
        what: "a helper that is none of 1 to 6, 8, 10, 100 to 102 and 113",
        linux: "is called",
        axvisor: "stops the run at the call; the bench refuses the program",
        sign: Some(Sign::Call(|call| AXVISOR_HELPERS.iter().all(|helper| helper.id != call.id))),
        asm: "call bpf_get_current_pid_tgid#14\nexit",
        on_linux: "0x0",
        on_axvisor: "AxVisor does not have it",
        ..HELPERS
    },
    Gap {
        name: "helper 10",
        effect: Effect::Differs,
        what: "helper 10",
        linux: "is bpf_l3_csum_replace, which tracing programs may not call",
        axvisor: "returns the name of the tracepoint with the id in r1",
        sign: Some(Sign::Call(|call| call.id == 10)),
        asm: "r1 = 21\ncall get_tracepoint_name#10\nr0 = *(u32 *)(r0 +4)\nexit",
        on_linux: "program of this type cannot use helper",
        on_axvisor: "0x75706376",
        ..HELPERS
    },
    Gap {
        name: "bpf_probe_read of nothing",
        what: "bpf_probe_read of 0 bytes",
        linux: "answers 0",
        axvisor: "answers -1, as for more than 4096 bytes",
        sign: Some(Sign::Call(|call| call.is_probe_read() && call.may_read_nothing())),
        asm: "r1 = r10\nr1 += -8\nr2 = 0\nr3 = r1\ncall bpf_probe_read#4\nexit",
        on_linux: "0x0",
        on_axvisor: "0xffffffffffffffff",
        ..HELPERS
    },
    Gap {
        name: "bpf_probe_read of a bad address",
        what: "bpf_probe_read of memory that is not there",
        linux: "answers -EFAULT",
        axvisor: "reads it all the same, a page fault in the hypervisor; the bench stops the run",
        sign: Some(Sign::Call(|call| call.is_probe_read() && !call.args[2].is_memory)),
        asm: "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 4096\ncall bpf_probe_read#4\nexit",
        on_linux: "0xfffffffffffffff2",
        on_axvisor: "a page fault in the hypervisor",
        ..HELPERS
    },
    Gap {
        name: "bpf_trace_printk",
        what: "bpf_trace_printk",
        linux: "formats its text and answers its length",
        axvisor: "logs r1 to r3 as numbers, does not look at the text, and answers 0",
        sign: Some(Sign::Call(|call| call.id == 6)),
        asm: "*(u32 *)(r10 -8) = 0x6968\nr1 = r10\nr1 += -8\nr2 = 3\ncall bpf_trace_printk#6\nexit",
        on_linux: "0x2",
        on_axvisor: "0x0",
        ..HELPERS
    },
    // The context.
    Gap {
        name: "record of a tracepoint",
        what: "a load from the context of a program that is not SEC(\"axvisor/…\")",
        linux: "gives a part of the record, the arguments or the registers, by the program's type",
        axvisor: "gives what TraceContext has there (of a record's vm_id, at offset 8, the time of the event)",
        instead: "write the program for TraceContext: SEC(\"axvisor/…\")",
        sign: Some(Sign::ContextLoad),
        map: Some((MapKind::Array, 4, 8, 1)),
        asm: concat!("r6 = *(u32 *)(r1 +8)\n", keep!()),
        on_linux: "0x1",
        on_axvisor: "0x1388",
        ..CONTEXT
    },
];
