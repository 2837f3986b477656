//! The 29 tracepoints of the hypervisor as data, and random ones, for the tests of the event room.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../random/mod.rs"]
mod random;

use axebpf_core::event::{Display, FieldSpec, FieldType, Form, Role, Scalar, TracepointSpec};
pub use random::Random;

/// Id, name, record size, fields as `name:type@offset`; behind them `x` for hexadecimal, `/n+suffix` for a scale and
/// `=label` for a label. Fields called `duration_ns` are the duration.
pub const DEFINITIONS: &str = "
52 vmm:config_load 24 vm_id:u32@8 duration_ns:u64@16
25 vmm:cpu_up 32 vm_id:u32@8 source_vcpu:u32@12 target_vcpu:u32@16 entry_point:u64@24x
40 vmm:device_access 32 vm_id:u32@8 device_id:u32@12 addr:u64@16x is_write:u32@24
23 vmm:external_interrupt 24 vm_id:u32@8 vcpu_id:u32@12 vector:u64@16
22 vmm:hypercall 40 vm_id:u32@8 vcpu_id:u32@12 nr:u64@16x ret_val:i64@24 duration_ns:u64@32
53 vmm:image_load 32 vm_id:u32@8 image_size:u64@16 duration_ns:u64@24
26 vmm:ipi_send 32 vm_id:u32@8 vcpu_id:u32@12 target_cpu:u64@16 vector:u64@24
42 vmm:irq_handle 24 irq_num:u32@8 duration_ns:u64@16
41 vmm:irq_inject 20 vm_id:u32@8 vcpu_id:u32@12 irq_num:u32@16
30 vmm:memory_map 48 vm_id:u32@8 gpa:u64@16x hpa:u64@24x size:u64@32x flags:u32@40x
31 vmm:memory_unmap 32 vm_id:u32@8 gpa:u64@16x size:u64@24x
32 vmm:page_fault 40 vm_id:u32@8 gpa:u64@16x access_type:u32@24 duration_ns:u64@32
100 shell:shell_command 24 cmd_id:u32@8 duration_ns:u64@16
101 shell:shell_init 16 duration_ns:u64@8
62 vmm:task_switch 24 from_task:u64@8x to_task:u64@16x
61 vmm:timer_event 16 event_type:u32@8 vm_id:u32@12
60 vmm:timer_tick 16 timestamp:u64@8
10 vmm:vcpu_create 16 vm_id:u32@8 vcpu_id:u32@12
11 vmm:vcpu_destroy 16 vm_id:u32@8 vcpu_id:u32@12
24 vmm:vcpu_halt 16 vm_id:u32@8 vcpu_id:u32@12
20 vmm:vcpu_run_enter 16 vm_id:u32@8 vcpu_id:u32@12
21 vmm:vcpu_run_exit 32 vm_id:u32@8 vcpu_id:u32@12 exit_reason:u32@16 duration_ns:u64@24
12 vmm:vcpu_state_change 24 vm_id:u32@8 vcpu_id:u32@12 old_state:u32@16=old new_state:u32@20=new
51 vmm:vhal_init 24 cpu_id:u32@8 duration_ns:u64@16
2 vmm:vm_boot 24 vm_id:u32@8 duration_ns:u64@16
1 vmm:vm_create 24 vm_id:u32@8 vcpu_num:u32@12=vcpus memory_size:u64@16/1048576+MB=memory
4 vmm:vm_destroy 12 vm_id:u32@8
3 vmm:vm_shutdown 24 vm_id:u32@8 reason:u32@12 duration_ns:u64@16
50 vmm:vmm_init 24 cpu_count:u32@8 duration_ns:u64@16
";

/// A tracepoint with the layout that it should have.
pub struct Definition {
    pub spec: TracepointSpec,
    pub size: usize,
    pub offsets: Vec<usize>,
}

/// The 29, in the order of the table.
pub fn definitions() -> Vec<Definition> {
    let rows = DEFINITIONS.lines().filter(|line| !line.is_empty());
    rows.map(|row| {
        let mut words = row.split(' ');
        let (id, name, size) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let (fields, offsets) = words.map(field).unzip();
        let spec = TracepointSpec::new(name, id.parse().unwrap(), fields).unwrap();
        Definition { spec, size: size.parse().unwrap(), offsets }
    })
    .collect()
}

fn field(text: &str) -> (FieldSpec, usize) {
    let (text, label) = text.split_once('=').map_or((text, None), |(text, label)| (text, Some(label.to_owned())));
    let (text, form) = match text.split_once('/') {
        Some((text, scale)) => {
            let (divisor, suffix) = scale.split_once('+').unwrap();
            (text, Form::Scaled { divisor: divisor.parse().unwrap(), suffix: suffix.to_owned() })
        }
        None => text.strip_suffix('x').map_or((text, Form::Decimal), |text| (text, Form::Hex)),
    };
    let (name, rest) = text.split_once(':').unwrap();
    let (ty, offset) = rest.split_once('@').unwrap();
    let role = if name == "duration_ns" { Role::Duration } else { Role::None };
    let field = FieldSpec { display: Display { label, form }, role, ..FieldSpec::new(name, ty.parse().unwrap()) };
    (field, offset.parse().unwrap())
}

impl Random {
    /// A number that a type can hold, often one of its limits.
    pub fn value(&mut self, scalar: Scalar) -> i128 {
        let span = scalar.max() - scalar.min() + 1;
        match self.below(4) {
            0 => scalar.min(),
            1 => scalar.max(),
            _ => scalar.min() + i128::from(self.next()).rem_euclid(span),
        }
    }
}

/// A tracepoint of one to nine fields of any types and forms.
pub fn random_spec(random: &mut Random, id: u16) -> TracepointSpec {
    let fields = (0..=random.below(9)).map(|i| {
        let scalar = Scalar::ALL[random.below(9) as usize];
        let ty = match random.below(6) {
            0 => FieldType::Text(1 + random.below(20) as u32),
            1 => FieldType::Array(scalar, 1 + random.below(5) as u32),
            _ => FieldType::Scalar(scalar),
        };
        let unsigned = matches!(ty, FieldType::Scalar(s) if !s.is_signed() && s != Scalar::Bool);
        let form = match random.below(3) {
            0 if !matches!(ty, FieldType::Text(_)) => Form::Hex,
            1 if unsigned => Form::Scaled { divisor: 1 + random.below(5000), suffix: "kB".to_owned() },
            _ => Form::Decimal,
        };
        let label = (random.below(4) == 0).then(|| format!("label{i}"));
        FieldSpec { display: Display { label, form }, ..FieldSpec::new(format!("f{i}"), ty) }
    });
    TracepointSpec::new(&format!("random:event{id}"), id, fields.collect()).unwrap()
}
