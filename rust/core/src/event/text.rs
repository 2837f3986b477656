//! The trace as text: what `cat trace` shows, in Linux's form or AxVisor's.

use std::fmt::Write;

use super::field::{FieldType, Form, Scalar};
use super::record::Record;
use super::ring::Stamp;
use super::tracepoint::Field;

/// Whose form a text has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Linux's: `name: text`.
    #[default]
    Linux,
    /// AxVisor's: `name(text)`.
    Axvisor,
}

/// The name under which Linux shows what a program prints.
pub const PRINT_EVENT: &str = "bpf_trace_printk";

/// Appends the fields of a record: `vm_id=1 duration_ns=20`. Both styles have the same.
///
/// Bytes of a text field that are no UTF-8 are shown as U+FFFD.
pub fn write_fields(record: &Record<'_>, out: &mut String) {
    for (i, field) in record.spec().fields().iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        out.push_str(field.label());
        out.push('=');
        write_value(record, field, out);
    }
}

/// Appends the value of a field in its form.
fn write_value(record: &Record<'_>, field: &Field, out: &mut String) {
    match field.ty {
        FieldType::Scalar(scalar) => {
            let value = record.int(field).unwrap_or_default();
            write_number(value, scalar, &field.display.form, out);
        }
        FieldType::Text(_) => out.push_str(&String::from_utf8_lossy(record.text(field))),
        FieldType::Array(scalar, _) => {
            for (i, value) in record.ints(field).enumerate() {
                out.push(if i == 0 { '{' } else { ',' });
                write_number(value, scalar, &field.display.form, out);
            }
            out.push('}');
        }
    }
}

fn write_number(value: i128, scalar: Scalar, form: &Form, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match form {
        Form::Decimal => write!(out, "{value}"),
        Form::Hex => {
            let mask = u64::MAX >> (64 - 8 * scalar.size());
            write!(out, "{:#x}", value as u64 & mask)
        }
        Form::Scaled { divisor, suffix } => {
            write!(out, "{}{suffix}", value.checked_div(i128::from(*divisor)).unwrap_or_default())
        }
    };
}

/// Appends a line of the trace: task, CPU, flags, time, event, text.
///
/// `flags` are `common_flags` and `common_preempt_count` of the record ([`Record::flags`]); zero for a printed line. Linux
/// rounds the time to the nearest microsecond, AxVisor cuts it off.
pub fn write_line(style: Style, stamp: &Stamp, flags: (u8, u8), event: &str, text: &str, out: &mut String) {
    let comm = stamp.comm.split(|&b| b == 0).next().filter(|comm| !comm.is_empty());
    let comm = comm.map_or("<...>".into(), String::from_utf8_lossy);
    let (micros, flags) = match style {
        Style::Linux => (stamp.time_ns / 1000 + u64::from(stamp.time_ns % 1000 >= 500), linux_flags(flags)),
        Style::Axvisor => (stamp.time_ns / 1000, axvisor_flags(flags)),
    };
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (open, close) = match style {
        Style::Linux => (": ", ""),
        Style::Axvisor => ("(", ")"),
    };
    let (pid, cpu) = (stamp.pid, stamp.cpu);
    let _ =
        writeln!(out, "{comm:>16}-{pid:<7} [{cpu:03}] {flags} {seconds:>5}.{micros:06}: {event}{open}{text}{close}");
}

/// The five letters of Linux: interrupts, rescheduling, interrupt context, preemption depth, migration depth.
/// (`Documentation/trace/ftrace.rst`; checked against Linux 6.18.)
fn linux_flags((flags, preempt): (u8, u8)) -> String {
    const IRQS_OFF: u8 = 0x01;
    const NEED_RESCHED_LAZY: u8 = 0x02;
    const NEED_RESCHED: u8 = 0x04;
    const HARDIRQ: u8 = 0x08;
    const SOFTIRQ: u8 = 0x10;
    const PREEMPT_RESCHED: u8 = 0x20;
    const NMI: u8 = 0x40;
    const BH_OFF: u8 = 0x80;
    let has = |flag: u8| flags & flag != 0;
    let interrupts = match (has(IRQS_OFF), has(BH_OFF)) {
        (true, true) => 'D',
        (true, false) => 'd',
        (false, true) => 'b',
        (false, false) => '.',
    };
    let resched = match (has(NEED_RESCHED), has(NEED_RESCHED_LAZY), has(PREEMPT_RESCHED)) {
        (true, true, true) => 'B',
        (true, false, true) => 'N',
        (false, true, true) => 'L',
        (true, true, false) => 'b',
        (true, false, false) => 'n',
        (false, false, true) => 'p',
        (false, true, false) => 'l',
        (false, false, false) => '.',
    };
    let context = match (has(NMI), has(HARDIRQ), has(SOFTIRQ)) {
        (true, true, _) => 'Z',
        (true, false, _) => 'z',
        (false, true, true) => 'H',
        (false, true, false) => 'h',
        (false, false, true) => 's',
        (false, false, false) => '.',
    };
    let depth = |nibble: u8| if nibble == 0 { '.' } else { char::from_digit(nibble.into(), 16).unwrap_or('.') };
    [interrupts, resched, context, depth(preempt & 15), depth(preempt >> 4)].iter().collect()
}

/// The five letters of AxVisor, which shows depths only, counting on from `'0'` in ASCII.
fn axvisor_flags((_, preempt): (u8, u8)) -> String {
    let depth = |nibble: u8| if nibble == 0 { '.' } else { char::from(b'0' + nibble) };
    ['.', '.', '.', depth(preempt & 15), depth(preempt >> 4)].iter().collect()
}

/// Appends the head of a trace: how many entries it has, how many were written, and what the columns mean.
///
/// AxVisor gives the first number twice, and 32 for the CPUs, whatever they are.
pub fn write_header(style: Style, entries: usize, written: u64, cpus: u32, out: &mut String) {
    let (written, cpus, first) = match style {
        Style::Linux => (written, cpus, "irqs-off/BH-disabled"),
        Style::Axvisor => (entries as u64, 32, "irqs-off"),
    };
    let _ = writeln!(out, "# tracer: nop\n#\n# entries-in-buffer/entries-written: {entries}/{written}   #P:{cpus}\n#");
    let _ = writeln!(out, "#                                _-----=> {first}");
    out.push_str(
        "#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
",
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::field::{Display, FieldSpec};
    use super::super::record::Value;
    use super::super::tracepoint::TracepointSpec;
    use super::*;

    fn line(style: Style, time_ns: u64, flags: (u8, u8)) -> String {
        let mut comm = [0; 16];
        comm[..7].copy_from_slice(b"axvisor");
        let mut out = String::new();
        write_line(style, &Stamp { time_ns, cpu: 0, pid: 0, comm }, flags, "vm_destroy", "vm_id=1", &mut out);
        out
    }

    #[test]
    fn a_line_has_the_form_of_its_style() {
        let time = 1_000_000_000;
        assert_eq!(
            line(Style::Axvisor, time, (0, 0)),
            "         axvisor-0       [000] .....     1.000000: vm_destroy(vm_id=1)\n"
        );
        assert_eq!(
            line(Style::Linux, time, (0, 0)),
            "         axvisor-0       [000] .....     1.000000: vm_destroy: vm_id=1\n"
        );
        let stamp = Stamp { time_ns: u64::MAX, cpu: 1234, pid: 12_345_678, comm: [0; 16] };
        let mut out = String::new();
        write_line(Style::Linux, &stamp, (0, 0), PRINT_EVENT, "two\nlines\n", &mut out);
        assert_eq!(out, "           <...>-12345678 [1234] ..... 18446744073.709552: bpf_trace_printk: two\nlines\n\n");
    }

    #[test]
    fn linux_rounds_and_axvisor_cuts_off() {
        let time = |style, ns| line(style, ns, (0, 0)).split_whitespace().nth(3).map(str::to_owned);
        let expect = |texts: [&str; 3]| texts.map(|text| Some(text.to_owned()));
        let samples = [1_499, 1_500, 999_999_500];
        assert_eq!(samples.map(|ns| time(Style::Linux, ns)), expect(["0.000001:", "0.000002:", "1.000000:"]));
        assert_eq!(samples.map(|ns| time(Style::Axvisor, ns)), expect(["0.000001:", "0.000001:", "0.999999:"]));
    }

    #[test]
    fn flags_are_those_of_linux() {
        // Pairs of raw record and text, read from trace_pipe_raw and trace of Linux 6.18.
        for (flags, preempt, text) in [
            (0x00, 0x00, "....."),
            (0x00, 0x03, "...3."),
            (0x01, 0x05, "d..5."),
            (0x04, 0x00, ".n..."),
            (0x05, 0x04, "dn.4."),
            (0x09, 0x01, "d.h1."),
            (0x0d, 0x02, "dnh2."),
            (0x10, 0x01, "..s1."),
            (0x19, 0x00, "d.H.."),
            (0x1d, 0x03, "dnH3."),
            (0x24, 0x02, ".N.2."),
            (0x35, 0x06, "dNs6."),
            (0x80, 0x11, "b..11"),
        ] {
            assert_eq!(linux_flags((flags, preempt)), text, "{flags:#x} {preempt:#x}");
        }
        assert_eq!(linux_flags((0xff, 0xfa)), "DBZaf");
        assert_eq!(axvisor_flags((0xff, 0x21)), "...12");
    }

    #[test]
    fn fields_are_shown_in_their_form() {
        let scaled = Form::Scaled { divisor: 1 << 20, suffix: "MB".to_owned() };
        let fields = [
            ("a", "i16", None, Form::Hex),
            ("memory_size", "u64", Some("memory"), scaled),
            ("ret", "i64", None, Form::Decimal),
            ("who", "[char; 4]", None, Form::Decimal),
            ("v", "[i8; 2]", None, Form::Hex),
            ("w", "[u8; 2]", None, Form::Decimal),
            ("on", "bool", None, Form::Decimal),
        ];
        let fields = fields.into_iter().map(|(name, ty, label, form)| FieldSpec {
            display: Display { label: label.map(str::to_owned), form },
            ..FieldSpec::new(name, ty.parse().unwrap())
        });
        let spec = TracepointSpec::new("vmm:probe", 1, fields.collect()).unwrap();
        let values = [
            Value::Int(-2),
            Value::Int((3 << 20) - 1),
            Value::Int(-1),
            Value::Bytes(b"a\xffb"),
            Value::Ints(&[-1, 1]),
            Value::Bytes(&[161, 7]),
            Value::Int(1),
        ];
        let mut bytes = vec![0; spec.record_size()];
        spec.encode(0, &values, &mut bytes).unwrap();
        let mut out = String::new();
        write_fields(&spec.record(&bytes).unwrap(), &mut out);
        assert_eq!(out, "a=0xfffe memory=2MB ret=-1 who=a\u{fffd}b v={0xff,0x1} w={161,7} on=1");
    }
}
