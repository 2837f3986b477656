//! One line of ftrace's text.
//!
//! ```text
//!          python3-30182   (  30182) [001] d..1. 19131.776858: kvm_fpu: load        trace, trace_pipe
//! guest:       CPU 0/KVM-30476       [001] 19133.489224: kvm_fpu:   load            trace-cmd report, one of several buffers
//!       CPU 0/KVM 30706              [001] 19138.440524:        kvm:kvm_fpu: load   perf script
//!         axvisor-0       [000] .....     1.000000: vm_destroy(vm_id=1)             AxVisor
//! ```
//!
//! (`Documentation/trace/ftrace.rst`; each form as Linux 6.18, trace-cmd 3 and perf 6 write it.) A task's name may hold
//! any character but a newline, so the line is read from the CPU in brackets outwards.

/// A line, as far as it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// An event.
    Event(Head<'a>),
    /// A comment or an empty line.
    Nothing,
    /// What a tracer writes above its events.
    Header,
    /// Events are missing here: of which CPU, and how many if that is known.
    Lost {
        /// CPU.
        cpu: u32,
        /// How many.
        events: Option<u64>,
    },
    /// None of these.
    Unknown,
}

/// An event: when and where it happened, its name, and its fields as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Name of the task; empty where the recorder did not know it.
    pub comm: &'a [u8],
    /// Thread.
    pub pid: i32,
    /// Process, where the recording has that column.
    pub tgid: Option<i32>,
    /// CPU.
    pub cpu: u32,
    /// Time in ns. Of clocks that do not count seconds (`counter`, `x86-tsc`) it is their number.
    pub time_ns: u64,
    /// Subsystem, where the line says it.
    pub system: &'a [u8],
    /// Event.
    pub event: &'a [u8],
    /// The fields.
    pub text: &'a [u8],
}

/// Longest name of a task in Linux.
pub const COMM_LEN: usize = 15;

/// Reads a line.
#[must_use]
pub fn parse(line: &[u8]) -> Line<'_> {
    // A task's name comes first and may hold brackets itself.
    for open in memchr::memchr_iter(b'[', line).take(8) {
        if let Some(head) = head_at(line, open) {
            return Line::Event(head);
        }
    }
    other(line)
}

/// The event of a line whose CPU stands in the brackets that open here.
fn head_at(line: &[u8], open: usize) -> Option<Head<'_>> {
    let (cpu, rest) = number(&line[open + 1..])?;
    let mut rest = rest.strip_prefix(b"]")?.trim_ascii_start();
    let (first, behind) = word(rest);
    let time_ns = if let Some(time) = time(first) {
        rest = behind;
        time
    } else {
        // Up to eight letters of flags.
        let (second, behind) = word(behind.trim_ascii_start());
        rest = behind;
        time(second).filter(|_| first.len() <= 8)?
    };
    let (system, event, text) = event(rest.trim_ascii_start())?;
    let (task, tgid) = without_tgid(line[..open].trim_ascii_end());
    let (comm, pid) = task_and_pid(task)?;
    let cpu = u32::try_from(cpu).ok()?;
    Some(Head { comm, pid, tgid, cpu, time_ns, system, event, text })
}

/// `event: text`, `system:event: text`, `event(text)`; system, event, text.
fn event(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (first, behind) = name(rest)?;
    match behind.split_first() {
        Some((b':', text)) => match name(text) {
            Some((second, text)) if text.first() == Some(&b':') => Some((first, second, text[1..].trim_ascii())),
            _ => Some((&[], first, text.trim_ascii())),
        },
        Some((b'(', text)) => Some((&[], first, text.trim_ascii_end().strip_suffix(b")")?)),
        _ => None,
    }
}

fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|&b| !(b.is_ascii_alphanumeric() || b == b'_')).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Takes `(  1234)` or `(-------)` off the end.
fn without_tgid(task: &[u8]) -> (&[u8], Option<i32>) {
    let Some(inside) = task.strip_suffix(b")") else { return (task, None) };
    // The column has seven places.
    let Some(open) = inside.iter().rposition(|&b| b == b'(').filter(|open| inside.len() - open <= 12) else {
        return (task, None);
    };
    let id = inside[open + 1..].trim_ascii();
    match number(id) {
        Some((tgid, [])) => (task[..open].trim_ascii_end(), i32::try_from(tgid).ok()),
        _ if !id.is_empty() && id.iter().all(|&b| b == b'-') => (task[..open].trim_ascii_end(), None),
        _ => (task, None),
    }
}

/// `comm-pid`, or perf's `comm pid` and `comm pid/tid`.
fn task_and_pid(task: &[u8]) -> Option<(&[u8], i32)> {
    let last = |at: usize| match number(&task[at + 1..]) {
        Some((pid, [])) => i32::try_from(pid).ok(),
        _ => None,
    };
    let dash = task.iter().rposition(|&b| b == b'-');
    let (comm, pid) = match dash.and_then(|at| Some((at, last(at)?))) {
        Some((at, pid)) => (&task[..at], pid),
        None => {
            let space = task.iter().rposition(|&b| b == b' ')?;
            let behind = &task[space + 1..];
            let slash = behind.iter().position(|&b| b == b'/').map_or(space, |at| space + 1 + at);
            number(behind)?;
            (&task[..space], last(slash)?)
        }
    };
    let mut comm = comm.trim_ascii();
    // The name of a buffer stands before a task that is padded to more than the longest name.
    if comm.len() > COMM_LEN
        && let Some(colon) = comm.windows(2).position(|pair| pair == b": ")
    {
        comm = comm[colon + 2..].trim_ascii_start();
    }
    Some((if comm == b"<...>" { &[] } else { comm }, pid))
}

/// `12.345678:`, `12.345678901:` or `1234:`, in ns.
fn time(word: &[u8]) -> Option<u64> {
    let time = word.strip_suffix(b":")?;
    match number(time)? {
        (count, []) => Some(count),
        _ => seconds(time),
    }
}

/// `12.345678` or `12`, in ns. What is below a nanosecond is cut off.
pub(super) fn seconds(time: &[u8]) -> Option<u64> {
    let (seconds, rest) = number(time)?;
    if rest.is_empty() {
        return seconds.checked_mul(1_000_000_000);
    }
    let fraction = rest.strip_prefix(b".").filter(|digits| !digits.is_empty())?;
    let mut ns = 0;
    for place in 0..9 {
        let digit = fraction.get(place).map_or(Some(0), |b| b.is_ascii_digit().then(|| u64::from(b - b'0')))?;
        ns = ns * 10 + digit;
    }
    if fraction.len() > 9 && !fraction[9..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    seconds.checked_mul(1_000_000_000)?.checked_add(ns)
}

/// A decimal number at the start, and what follows.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let step = |sum: u64, b: &u8| sum.checked_mul(10)?.checked_add(u64::from(b - b'0'));
    (end > 0).then_some(())?;
    Some((digits.iter().try_fold(0, step)?, rest))
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()))
}

/// A line that is no event.
fn other(line: &[u8]) -> Line<'_> {
    let line = line.trim_ascii();
    if let Some(comment) = line.strip_prefix(b"#") {
        let tracer = comment.trim_ascii_start().starts_with(b"tracer: ");
        return if tracer { Line::Header } else { Line::Nothing };
    }
    if line.is_empty() {
        return Line::Nothing;
    }
    if let Some((_, [])) = line.strip_prefix(b"cpus=").and_then(number) {
        return Line::Header;
    }
    lost(line).unwrap_or(Line::Unknown)
}

/// `CPU:0 [LOST 12 EVENTS]`, `CPU:0 [LOST EVENTS]`, trace-cmd's `CPU:0 [12 EVENTS DROPPED]` and `CPU 0 is empty`.
fn lost(line: &[u8]) -> Option<Line<'_>> {
    let behind = line.strip_prefix(b"CPU")?;
    let (cpu, rest) = number(behind.strip_prefix(b":").or_else(|| behind.strip_prefix(b" "))?)?;
    let rest = rest.trim_ascii_start();
    if rest == b"is empty" {
        return Some(Line::Nothing);
    }
    let inside = rest.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let count = inside.strip_prefix(b"LOST ").and_then(|rest| rest.strip_suffix(b"EVENTS"));
    let count = count.or_else(|| inside.strip_suffix(b"EVENTS DROPPED"))?.trim_ascii();
    let events = match number(count) {
        Some((events, [])) => Some(events),
        _ => None,
    };
    (events.is_some() || count.is_empty()).then_some(())?;
    Some(Line::Lost { cpu: u32::try_from(cpu).ok()?, events })
}
