//! What programs of the different types get from a record.

use super::field::{Place, Role};
use super::record::Record;
use super::tracepoint::Field;
use crate::helper::VmContext;

/// Bytes of AxVisor's `TraceContext`.
pub const TRACE_CONTEXT_SIZE: usize = 64;

/// `probe_type` of a tracepoint in AxVisor's `TraceContext`.
pub const PROBE_TYPE_TRACEPOINT: u32 = 4;

/// How many arguments a raw tracepoint program may read.
pub const RAW_ARGUMENTS: usize = 12;

/// An argument of a raw tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    Number(Place),
    /// An array, which C passes as a pointer.
    Pointer {
        offset: usize,
    },
}

/// Where the members of the contexts are found in a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContextPlan {
    vm_id: Option<Place>,
    vcpu_id: Option<Place>,
    exit_reason: Option<Place>,
    duration: Option<Place>,
    args: Vec<Place>,
    raw: Vec<Argument>,
}

impl ContextPlan {
    pub(super) fn new(fields: &[Field], duration: Option<usize>) -> ContextPlan {
        let source = |field: &Field| Some(Place { offset: field.offset, scalar: field.ty.scalar()? });
        let named = |name: &str| fields.iter().find(|field| field.name == name).and_then(source);
        let duration = duration.and_then(|i| source(&fields[i]));
        let others = fields.iter().filter(|f| f.role != Role::Duration && f.name != "vm_id" && f.name != "vcpu_id");
        ContextPlan {
            vm_id: named("vm_id"),
            vcpu_id: named("vcpu_id"),
            exit_reason: named("exit_reason"),
            duration,
            args: duration.into_iter().chain(others.filter_map(source)).take(4).collect(),
            raw: fields
                .iter()
                .map(|f| source(f).map_or(Argument::Pointer { offset: f.offset }, Argument::Number))
                .take(RAW_ARGUMENTS)
                .collect(),
        }
    }
}

impl Record<'_> {
    /// How long the thing took, if the tracepoint has a field for it.
    #[inline]
    #[must_use]
    pub fn duration(&self) -> Option<u64> {
        Some(self.spec.context.duration?.load(self.bytes))
    }

    /// VM, vCPU and exit reason: the fields of those names; of those that the event has not, what its CPU was doing.
    #[must_use]
    pub fn vm_context(&self, cpu: VmContext) -> VmContext {
        let plan = &self.spec.context;
        let load = |source: Option<Place>, other: u64| source.map_or(other, |source| source.load(self.bytes));
        VmContext {
            vm_id: load(plan.vm_id, cpu.vm_id.into()) as u32,
            vcpu_id: load(plan.vcpu_id, cpu.vcpu_id.into()) as u32,
            exit_reason: load(plan.exit_reason, cpu.exit_reason),
        }
    }

    /// AxVisor's `TraceContext`: the context of programs of type `axvisor`.
    ///
    /// Offsets: `tracepoint_id` u32 at 0, `timestamp_ns` u64 at 8, `vm_id` u32 at 16, `vcpu_id` u32 at 20, `arg0` to
    /// `arg3` u64 from 24, `probe_type` u32 at 56; the rest is zero. The arguments are the duration, if there is one,
    /// then the other numbers in order, as far as they go.
    #[must_use]
    pub fn trace_context(&self, time_ns: u64) -> [u8; TRACE_CONTEXT_SIZE] {
        let mut out = [0; TRACE_CONTEXT_SIZE];
        let vm = self.vm_context(VmContext::default());
        out[0..4].copy_from_slice(&u32::from(self.spec.id()).to_le_bytes());
        out[8..16].copy_from_slice(&time_ns.to_le_bytes());
        out[16..20].copy_from_slice(&vm.vm_id.to_le_bytes());
        out[20..24].copy_from_slice(&vm.vcpu_id.to_le_bytes());
        for (arg, source) in out[24..56].chunks_exact_mut(8).zip(&self.spec.context.args) {
            arg.copy_from_slice(&source.load(self.bytes).to_le_bytes());
        }
        out[56..60].copy_from_slice(&PROBE_TYPE_TRACEPOINT.to_le_bytes());
        out
    }

    /// The arguments of a raw tracepoint program: the fields in order, extended to 64 bits by their sign, and 0 behind
    /// them. An array is passed by its address in this record.
    #[must_use]
    pub fn raw_arguments(&self) -> [u64; RAW_ARGUMENTS] {
        let mut out = [0; RAW_ARGUMENTS];
        for (out, argument) in out.iter_mut().zip(&self.spec.context.raw) {
            *out = match *argument {
                Argument::Number(source) => source.load(self.bytes),
                Argument::Pointer { offset } => self.bytes[offset..].as_ptr() as u64,
            };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::field::FieldSpec;
    use super::super::record::Value;
    use super::super::tracepoint::TracepointSpec;
    use super::*;

    fn spec(fields: &[(&str, &str)]) -> TracepointSpec {
        let fields = fields
            .iter()
            .map(|(name, ty)| FieldSpec {
                role: if *name == "duration_ns" { Role::Duration } else { Role::None },
                ..FieldSpec::new(*name, ty.parse().unwrap())
            })
            .collect();
        TracepointSpec::new("vmm:probe", 22, fields).unwrap()
    }

    fn words(context: [u8; 64]) -> [u32; 16] {
        std::array::from_fn(|i| u32::from_le_bytes(context[i * 4..][..4].try_into().unwrap()))
    }

    #[test]
    fn a_trace_context_starts_its_arguments_with_the_duration() {
        let spec = spec(&[
            ("vm_id", "u32"),
            ("vcpu_id", "u32"),
            ("nr", "u64"),
            ("ret_val", "i64"),
            ("duration_ns", "u64"),
            ("more", "i8"),
            ("dropped", "u8"),
        ]);
        let mut bytes = vec![0; spec.record_size()];
        spec.encode(0, &[1, 2, 3, -4, 5, -6, 7].map(Value::Int), &mut bytes).unwrap();
        let record = spec.record(&bytes).unwrap();
        let context = words(record.trace_context(0x1122_3344_5566_7788));
        assert_eq!(context[..6], [22, 0, 0x5566_7788, 0x1122_3344, 1, 2]);
        assert_eq!(context[6..14], [5, 0, 3, 0, -4_i32 as u32, u32::MAX, -6_i32 as u32, u32::MAX]);
        assert_eq!(context[14..], [4, 0]);
        assert_eq!(record.duration(), Some(5));
        assert_eq!(record.raw_arguments(), [1, 2, 3, -4_i64 as u64, 5, -6_i64 as u64, 7, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn without_a_duration_the_first_argument_is_the_first_other_field() {
        let spec = spec(&[("name", "[char; 4]"), ("vm_id", "u64"), ("exit_reason", "u16")]);
        let mut bytes = vec![0; spec.record_size()];
        spec.encode(0, &[Value::Bytes(b"ab"), Value::Int(1 << 32 | 9), Value::Int(7)], &mut bytes).unwrap();
        let record = spec.record(&bytes).unwrap();
        assert_eq!(words(record.trace_context(0))[4..8], [9, 0, 7, 0]);
        assert_eq!(record.duration(), None);
        let cpu = VmContext { vm_id: 1, vcpu_id: 2, exit_reason: 3 };
        assert_eq!(record.vm_context(cpu), VmContext { vm_id: 9, vcpu_id: 2, exit_reason: 7 });
        assert_eq!(record.raw_arguments()[0], bytes[8..].as_ptr() as u64);
        assert_eq!(record.raw_arguments()[1..3], [1 << 32 | 9, 7]);
    }

    #[test]
    fn a_raw_tracepoint_has_twelve_arguments() {
        let names: Vec<String> = (0..14).map(|i| format!("f{i}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "u8")).collect();
        let spec = spec(&fields);
        let mut bytes = vec![0; spec.record_size()];
        let values: Vec<Value<'_>> = (1..15).map(Value::Int).collect();
        spec.encode(0, &values, &mut bytes).unwrap();
        assert_eq!(spec.record(&bytes).unwrap().raw_arguments(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }
}
