//! Filters against those of the running kernel: an event of our own (a uprobe on a function of this test) is counted
//! by many perf events, each with a filter. Skipped, with the reason, where that cannot be had.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod event_filter_support;
mod random;

use std::ffi::CString;
use std::fs;
use std::hint::black_box;
use std::io::{self, Error, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use axebpf_core::event::Filter;
use event_filter_support::cases::{Answer, COMM, cases};
use event_filter_support::{Dialect, NUMBERS, Row, expression, spec, stamp};
use random::Random;

/// The kernel that the cases were measured on; others may differ.
const RELEASE: &str = "6.18.";
const TRACING: &str = "/sys/kernel/tracing";
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FORMAT_GROUP: u64 = 8;
const PERF_EVENT_IOC_SET_FILTER: u64 = 0x4008_2406;
/// A read of a group gives at most 16 KiB.
const GROUP: usize = 1000;

/// The event: whoever calls this makes one. Numbers in order, 8 bytes each, then the text.
#[inline(never)]
extern "C" fn record(values: *const u8) {
    black_box(values);
}

/// The event's definition, which goes away with this.
struct Event {
    name: String,
    id: u64,
    /// A counter that lasts: without one the kernel takes the uprobe out, and waits for all CPUs, each time.
    lasting: Counters,
}

impl Event {
    fn define() -> Result<Event, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        if !release.starts_with(RELEASE) {
            return Err(format!("measured on Linux {RELEASE}x, this is {}", release.trim()));
        }
        if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
            return Err("the cases name CPUs 0 and 1, here is one".to_owned());
        }
        let (path, offset) = place(record as *const () as usize).ok_or("this test is not mapped from a file")?;
        let name = format!("axf{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let numbers = NUMBERS.iter().enumerate().map(|(index, (field, ty))| {
            let ty = ty.replace('i', "s");
            format!("{field}=+{}(%di):{ty}", 8 * index)
        });
        let fields: Vec<String> = numbers.chain([format!("text=+{}(%di):string", 8 * NUMBERS.len())]).collect();
        change_uprobes(&format!("p:{name}/rec {path}:{offset:#x} {}", fields.join(" ")))
            .map_err(|error| format!("uprobe_events: {error}"))?;
        let id = fs::read_to_string(format!("{TRACING}/events/{name}/rec/id")).unwrap();
        let mut event = Event { id: id.trim().parse().unwrap(), name, lasting: Counters(Vec::new()) };
        let mut lasting = Counters(Vec::new());
        lasting.add(&event, "a8 == 0").unwrap();
        event.lasting = lasting;
        Ok(event)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.lasting.0.clear();
        let _ = change_uprobes(&format!("-:{}/rec", self.name));
    }
}

fn change_uprobes(line: &str) -> io::Result<()> {
    fs::OpenOptions::new().append(true).open(format!("{TRACING}/uprobe_events"))?.write_all(line.as_bytes())
}

/// The file of this process's memory, and the offset in it, of an address.
fn place(address: usize) -> Option<(String, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [range, _, offset, _, _, path] = columns[..] else { return None };
        let (start, end) = range.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        let offset = usize::from_str_radix(offset, 16).ok()?;
        (start..end).contains(&address).then(|| (path.to_owned(), address - start + offset))
    })
}

/// Counters of the event on this thread, each behind a filter; the first of them reads all.
struct Counters(Vec<fs::File>);

impl Counters {
    /// Adds a counter. The error is Linux's answer to the filter.
    fn add(&mut self, event: &Event, filter: &str) -> Result<(), Error> {
        let attributes: [u64; 8] =
            [u64::from(PERF_TYPE_TRACEPOINT) | 64 << 32, event.id, 0, 0, PERF_FORMAT_GROUP, 0, 0, 0];
        let group = self.0.first().map_or(-1, AsRawFd::as_raw_fd);
        // SAFETY: the attributes are 64 bytes, as they say, and live through the call.
        let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, group, 0) };
        assert!(fd >= 0, "perf_event_open: {}", Error::last_os_error());
        // SAFETY: a new descriptor of our own.
        let file = unsafe { fs::File::from_raw_fd(fd as i32) };
        let text = CString::new(filter).unwrap();
        // SAFETY: the text ends with a NUL and lives through the call.
        if unsafe { libc::ioctl(file.as_raw_fd(), PERF_EVENT_IOC_SET_FILTER, text.as_ptr()) } < 0 {
            return Err(Error::last_os_error());
        }
        self.0.push(file);
        Ok(())
    }

    fn read(&self) -> Vec<u64> {
        let mut bytes = vec![0; 8 * (self.0.len() + 1)];
        let read = (&self.0[0]).read(&mut bytes).unwrap();
        assert_eq!(read, bytes.len());
        bytes.as_chunks().0[1..].iter().map(|word| u64::from_ne_bytes(*word)).collect()
    }

    /// Makes an event and says whose filter it passed.
    fn fire(&self, row: &Row) -> Vec<bool> {
        let mut values: Vec<u8> = row.numbers.iter().flat_map(|&number| (number as u64).to_ne_bytes()).collect();
        values.extend_from_slice(&row.text);
        values.push(0);
        let before = self.read();
        record(values.as_ptr());
        let passed = self.read().into_iter().zip(before).map(|(after, before)| after - before);
        passed.map(|count| if count < 2 { count == 1 } else { panic!("one event was counted {count} times") }).collect()
    }
}

/// This thread on CPU 0, with the name that the cases know.
fn settle() {
    let name = CString::new(COMM).unwrap();
    // SAFETY: the name ends with a NUL; the set is plain data and lives through the call.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    assert_eq!(result, 0);
}

/// The event, or a message why the test is skipped.
macro_rules! event {
    () => {
        match Event::define() {
            Ok(event) => event,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return;
            }
        }
    };
}

/// `common_pid` on Linux is the thread.
fn thread() -> i32 {
    // SAFETY: has no arguments.
    unsafe { libc::gettid() }
}

#[test]
fn linux_answers_the_cases_as_they_say() {
    let event = event!();
    settle();
    for case in cases(thread()) {
        let expected = match &case.linux {
            Answer::NotAsked => continue,
            answer => answer.clone(),
        };
        let mut counters = Counters(Vec::new());
        let answer = match counters.add(&event, &case.expression) {
            Ok(()) => Answer::Matched(counters.fire(&case.row)[0]),
            Err(_) => Answer::Refused(None),
        };
        assert_eq!(answer, expected, "{case:?}");
    }
}

/// 100,000 answers: expressions times records.
#[test]
fn random_filters_match_what_linux_matches() {
    const EXPRESSIONS: usize = 10_000;
    const ROWS: usize = 10;
    let event = event!();
    settle();
    let (spec, pid) = (spec(), thread());
    let mut random = Random(0x11);
    let (mut asked, mut matched) = (0, 0);
    while asked < EXPRESSIONS * ROWS {
        let rows: Vec<Row> = (0..ROWS).map(|_| Row::random(&mut random, Dialect::Linux)).collect();
        let mut counters = Counters(Vec::new());
        let expressions: Vec<String> =
            (0..GROUP).map(|index| expression(&mut random, &rows[index % ROWS], Dialect::Linux)).collect();
        for text in &expressions {
            counters.add(&event, text).unwrap_or_else(|error| panic!("Linux refuses {text:?}: {error}"));
        }
        let filters: Vec<Filter> = expressions
            .iter()
            .map(|text| Filter::compile(&spec, text, 4).unwrap_or_else(|e| panic!("{text:?}: {e}")))
            .collect();
        for row in &rows {
            let record = row.encode(&spec, pid);
            let record = spec.record(&record).unwrap();
            for (passed, filter) in counters.fire(row).into_iter().zip(&filters) {
                assert_eq!(filter.matches(&record, &stamp(0, COMM)), passed, "{:?} {row:?}", filter.text());
                asked += 1;
                matched += usize::from(passed);
            }
        }
    }
    // Neither all nor nothing passes, or the comparison would be worth little.
    assert!((asked / 4..asked / 4 * 3).contains(&matched), "{matched} of {asked}");
}
