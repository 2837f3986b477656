//! The context by type of program: rule 10. Measured on Linux 6.18; what only axebpf has is said where it is.

use super::Rule;
use super::access::Access;
use super::error::Refusal;
use super::explore::Explorer;
use super::packet;
use super::scalar::of_size;
use super::state::State;
use super::value::{Number, Pointer, Value};
use crate::isa::Size;
use crate::program::ProgramType;

/// What a type of program may do with its context.
struct Layout {
    /// First byte that it may read.
    start: i64,
    /// Bytes, from the beginning.
    end: i64,
    writable: bool,
    /// Whether an access is aligned to its size.
    aligned: bool,
}

fn layout(program_type: ProgramType) -> Layout {
    let read = |start, end| Layout { start, end, writable: false, aligned: true };
    match program_type {
        ProgramType::Tracepoint => read(8, 8192),
        // 12 arguments.
        ProgramType::RawTracepoint => read(0, 96),
        // struct pt_regs.
        ProgramType::Kprobe => read(0, 168),
        // The same, then the period of the samples and an address.
        ProgramType::PerfEvent => read(0, 184),
        ProgramType::Syscall | ProgramType::Mem => Layout { start: 0, end: 65535, writable: true, aligned: true },
        ProgramType::Xdp => read(0, 24),
        // struct __sk_buff; part of it is the program's own.
        ProgramType::SocketFilter => Layout { start: 0, end: 192, writable: true, aligned: true },
        // AxVisor's TraceContext, which rbpf lets programs do everything with.
        ProgramType::Axvisor => Layout { start: 0, end: 64, writable: true, aligned: false },
    }
}

impl Explorer<'_> {
    /// What a load from the context gives.
    pub fn load_context(
        &mut self,
        state: &State,
        pointer: &Pointer,
        access: Access,
        size: Size,
        signed: bool,
    ) -> Result<Value, Refusal> {
        self.check_context(state, pointer, access)?;
        if self.program_type == ProgramType::Xdp {
            return packet::load_xdp(access.offset, size, signed).ok_or_else(|| self.outside(state, access));
        }
        Ok(Value::Number(Number::new(of_size(size, signed), 0)))
    }

    /// A store to the context.
    pub fn store_context(&mut self, state: &State, pointer: &Pointer, access: Access) -> Result<(), Refusal> {
        self.check_context(state, pointer, access)
    }

    /// The refusal of an access that this type of context has no field for.
    fn outside(&self, state: &State, access: Access) -> Refusal {
        let Access { base, offset, size, .. } = access;
        let name = self.program_type.name();
        let linux = format!("invalid bpf_context access off={offset} size={size}");
        let what = format!("the context of a program of type {name} has no field of {size} bytes at offset {offset}");
        Refusal::new(Rule::Context, state.at, linux, what).about(&[base])
    }

    fn check_context(&mut self, state: &State, pointer: &Pointer, access: Access) -> Result<(), Refusal> {
        let Access { base, offset, size, write } = access;
        let at = state.at;
        let refuse = |linux: String, what: String| Refusal::new(Rule::Context, at, linux, what).about(&[base]);
        let number = base.number();
        if pointer.variable.as_constant() != Some(0) {
            let linux = format!("variable ctx access var_off={} disallowed", pointer.variable.bits);
            return Err(refuse(linux, "the context is read at constant offsets".to_owned()));
        }
        if pointer.offset != 0 {
            let linux = format!("dereference of modified ctx ptr R{number} off={} disallowed", pointer.offset);
            let what = "the context is read through the address that the program was given; the offset stands in the \
                        instruction";
            return Err(refuse(linux, what.to_owned()).hint(
                "the compiler has added the offset first; read the member through a copy: bpf_probe_read_kernel()",
            ));
        }
        let layout = layout(self.program_type);
        let start = i64::from(offset);
        let end = self.options.context_size.map_or(layout.end, |size| layout.end.min(size.into()));
        let linux = || format!("invalid bpf_context access off={offset} size={size}");
        let name = self.program_type.name();
        if write && !layout.writable {
            return Err(refuse(linux(), format!("the context of a program of type {name} is read-only")));
        }
        if layout.aligned && start % i64::from(size) != 0 {
            return Err(refuse(linux(), format!("{size} bytes at offset {start}, which is no multiple of {size}")));
        }
        if start < layout.start || start + i64::from(size) > end {
            let what = format!(
                "{size} bytes at offset {start}; a program of type {name} may access bytes {} to {}",
                layout.start,
                end - 1
            );
            let refusal = refuse(linux(), what);
            return Err(if self.program_type == ProgramType::Tracepoint && start < layout.start {
                refusal.hint("the first 8 bytes of a record are its header, which programs do not read")
            } else {
                refusal.hint("the fields of the event, with their offsets, are in its format file (axebpf list)")
            });
        }
        let special = match self.program_type {
            // The registers are read whole.
            ProgramType::PerfEvent => start < 168 && size != 8,
            ProgramType::SocketFilter => !packet::socket_context(offset, size, write),
            _ => false,
        };
        if special {
            return Err(self.outside(state, access));
        }
        self.context_reach = self.context_reach.max(u32::try_from(start + i64::from(size)).unwrap_or(u32::MAX));
        Ok(())
    }
}
