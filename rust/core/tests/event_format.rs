//! The `format` file and the text of records, against libtraceevent and the running kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod event_definitions;

use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use axebpf_core::event::{FieldType, Style, TracepointSpec, Value, format, text};
use event_definitions::{Random, definitions, random_spec};

/// Builds the program that prints records as libtraceevent does, or says why it cannot.
fn build_printer() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/event_definitions/print.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("event_print");
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", "libtraceevent"]).output();
    let flags = flags.map_err(|error| format!("no pkg-config: {error}"))?;
    if !flags.status.success() {
        return Err("no libtraceevent-dev".to_owned());
    }
    let flags = String::from_utf8(flags.stdout).unwrap();
    let mut compiler = Command::new("cc");
    compiler.arg("-D_GNU_SOURCE").arg("-o").arg(&program).arg(source).args(flags.split_whitespace());
    let output = compiler.output().map_err(|error| format!("no C compiler (cc): {error}"))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(program)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record with a random value in each field.
fn random_record(random: &mut Random, spec: &TracepointSpec) -> Vec<u8> {
    let mut record = vec![0; spec.record_size()];
    spec.begin(random.next() as i32, &mut record).unwrap();
    for (index, field) in spec.fields().iter().enumerate() {
        let stored = match field.ty {
            FieldType::Scalar(scalar) => spec.store_int(index, random.value(scalar), &mut record),
            FieldType::Text(len) => {
                let len = random.below(u64::from(len) + 1);
                let bytes: Vec<u8> = (0..len).map(|_| b' ' + random.below(95) as u8).collect();
                spec.store(index, Value::Bytes(&bytes), &mut record)
            }
            FieldType::Array(scalar, len) => {
                let numbers: Vec<i128> = (0..len).map(|_| random.value(scalar)).collect();
                spec.store(index, Value::Ints(&numbers), &mut record)
            }
        };
        stored.unwrap();
    }
    record
}

#[test]
fn libtraceevent_reads_our_format_and_prints_records_as_we_do() {
    let program = match build_printer() {
        Ok(program) => program,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut random = Random(2);
    let mut specs: Vec<TracepointSpec> = definitions().into_iter().map(|definition| definition.spec).collect();
    specs.extend((1000..1200).map(|id| random_spec(&mut random, id)));
    let (mut input, mut expected) = (String::new(), String::new());
    for spec in &specs {
        writeln!(input, "F{}", hex(format::format(Style::Linux, spec).as_bytes())).unwrap();
        for _ in 0..4 {
            let record = random_record(&mut random, spec);
            writeln!(input, "R{}", hex(&record)).unwrap();
            write!(expected, "{}: ", spec.event()).unwrap();
            text::write_fields(&spec.record(&record).unwrap(), &mut expected);
            expected.push('\n');
        }
    }
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let found = String::from_utf8(output.stdout).unwrap();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), specs.len() * 4);
}

const TRACEFS: &str = "/sys/kernel/tracing";

#[test]
fn the_head_of_the_trace_is_that_of_the_running_kernel() {
    let (Ok(trace), Ok(tracer)) = (
        std::fs::read_to_string(format!("{TRACEFS}/trace")),
        std::fs::read_to_string(format!("{TRACEFS}/current_tracer")),
    ) else {
        return eprintln!("skipped: tracefs cannot be read at {TRACEFS}");
    };
    if tracer != "nop\n" {
        return eprintln!("skipped: the tracer {tracer:?} is running");
    }
    let kernel: Vec<&str> = trace.lines().take_while(|line| line.starts_with('#')).collect();
    let Some(buffer) = kernel.get(2).and_then(|line| line.strip_prefix("# entries-in-buffer/entries-written: ")) else {
        panic!("unexpected head: {kernel:?}");
    };
    let mut numbers = buffer.split(['/', '#', ':', 'P', ' ']).filter_map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().unwrap();
    let (entries, written, cpus) = (next() as usize, next(), next() as u32);
    let mut ours = String::new();
    text::write_header(Style::Linux, entries, written, cpus, &mut ours);
    assert_eq!(ours.lines().collect::<Vec<_>>(), kernel);
}

#[test]
fn the_common_fields_are_those_of_the_running_kernel() {
    let Ok(kernel) = std::fs::read_to_string(format!("{TRACEFS}/events/ftrace/print/format")) else {
        return eprintln!("skipped: tracefs cannot be read at {TRACEFS}");
    };
    let spec = TracepointSpec::new("ftrace:print", 5, vec![]).unwrap();
    let ours = format::format(Style::Linux, &spec);
    let common = |text: &str| text.lines().skip(2).take(6).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(common(&ours), common(&kernel));
}
