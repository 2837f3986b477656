//! Tables: rows under a header, separated by commas.
//!
//! The columns `event`, `time_ns` (or `time`, in seconds), `cpu`, `pid` and `comm` say what, when and where; all others
//! are fields. A tracepoint's event needs a cell for each of its fields and has no use for the others of its row.

use csv_core::{ReadRecordResult, Reader as CsvReader};

use super::RecordingError;
use super::events::Events;
use super::ftrace::{COMM_LEN, seconds};
use super::names::{Names, Use};
use super::reader::Report;
use super::rules::array;
use super::template::number;
use crate::event::{FieldType, Stamp, TracepointSpec, Value};
use crate::nearest::nearest;

/// Bytes of the longest row.
const LONGEST_ROW: usize = 1 << 20;

/// The most columns.
const MOST_COLUMNS: usize = 1 << 12;

/// Where rows go.
pub(super) struct Out<'o> {
    pub(super) tracepoints: &'o [TracepointSpec],
    pub(super) names: &'o mut Names,
    pub(super) events: &'o mut Events,
    pub(super) report: &'o mut Report,
    /// CPUs of the bench.
    pub(super) cpus: u32,
}

/// A table on its way.
pub(super) struct Table {
    reader: CsvReader,
    /// The row so far: its cells one after the other, and where each ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
    filled: (usize, usize),
    /// The line on which the row begins.
    line: u64,
    event: Option<String>,
    header: Option<Header>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("line", &self.line).field("header", &self.header).finish_non_exhaustive()
    }
}

/// Which column is what.
#[derive(Debug)]
struct Header {
    names: Vec<String>,
    event: Option<usize>,
    time: (usize, bool),
    cpu: Option<usize>,
    pid: Option<usize>,
    comm: Option<usize>,
    /// By tracepoint: the columns of its fields, once one of its events was seen.
    fields: Vec<Option<Vec<usize>>>,
}

/// A row: its line and its cells.
#[derive(Clone, Copy)]
struct Row<'r> {
    line: u64,
    cells: &'r [u8],
    ends: &'r [usize],
}

impl<'r> Row<'r> {
    fn cell(&self, column: usize) -> &'r [u8] {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        self.cells[start..self.ends[column]].trim_ascii()
    }
}

impl Table {
    pub(super) fn new(event: Option<String>) -> Table {
        Table {
            reader: CsvReader::new(),
            cells: vec![0; 1024],
            ends: vec![0; 32],
            filled: (0, 0),
            line: 1,
            event,
            header: None,
        }
    }

    pub(super) const fn has_header(&self) -> bool {
        self.header.is_some()
    }

    /// Makes events of the rows that end in a piece.
    pub(super) fn feed(&mut self, mut piece: &[u8], last: bool, out: &mut Out<'_>) -> Result<(), RecordingError> {
        // To the reader of rows, no bytes are the end of the file.
        while last || !piece.is_empty() {
            let (cells, ends) = self.filled;
            let (result, used, written, ended) =
                self.reader.read_record(piece, &mut self.cells[cells..], &mut self.ends[ends..]);
            let newline = used > 0 && piece[used - 1] == b'\n';
            piece = &piece[used..];
            self.filled = (cells + written, ends + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => grow(&mut self.cells, LONGEST_ROW).map_err(|max| self.long_row(max))?,
                ReadRecordResult::OutputEndsFull => {
                    grow(&mut self.ends, MOST_COLUMNS).map_err(|max| self.long_row(max))?
                }
                ReadRecordResult::End => return Ok(()),
                ReadRecordResult::Record => {
                    let (cells, ends) = std::mem::take(&mut self.filled);
                    let inside = newlines(&self.cells[..cells]);
                    let line = self.reader.line().saturating_sub(inside + u64::from(newline));
                    let row = Row { line, cells: &self.cells[..cells], ends: &self.ends[..ends] };
                    out.report.lines = line + inside;
                    match &mut self.header {
                        None => self.header = Some(Header::read(row, self.event.as_deref(), out.tracepoints)?),
                        Some(header) => header.row(row, self.event.as_deref(), out)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// The row that is being read has no end.
    fn long_row(&self, max: usize) -> RecordingError {
        let line = self.reader.line().saturating_sub(newlines(&self.cells[..self.filled.0]));
        RecordingError::LongRow { line, max }
    }
}

/// Ends of lines within quotes.
fn newlines(cells: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', cells).count() as u64
}

/// Makes room, or gives back the limit.
fn grow<T: Copy + Default>(buffer: &mut Vec<T>, max: usize) -> Result<(), usize> {
    if buffer.len() >= max {
        return Err(max);
    }
    buffer.resize((2 * buffer.len()).min(max), T::default());
    Ok(())
}

impl Header {
    fn read(row: Row<'_>, event: Option<&str>, tracepoints: &[TracepointSpec]) -> Result<Header, RecordingError> {
        let line = row.line;
        let text = |column| String::from_utf8_lossy(row.cell(column)).into_owned();
        let names: Vec<String> = (0..row.ends.len()).map(text).collect();
        for (column, name) in names.iter().enumerate() {
            if names[..column].contains(name) {
                return Err(RecordingError::DuplicateColumn { line, column: name.clone() });
            }
        }
        let find = |name: &str| names.iter().position(|column| column == name);
        let missing = |column: &str, why: &str| RecordingError::NoColumn {
            line,
            column: column.to_owned(),
            why: why.to_owned(),
            nearest: nearest(column, names.iter().map(String::as_str)),
        };
        let time = match (find("time_ns"), find("time")) {
            (Some(column), _) => (column, true),
            (None, Some(column)) => (column, false),
            (None, None) => return Err(missing("time_ns", "when each event happened, or time in seconds")),
        };
        let of_event = find("event");
        if of_event.is_none() && event.is_none() {
            return Err(missing("event", "which tracepoint each row is of"));
        }
        let own = [of_event, Some(time.0), find("cpu"), find("pid"), find("comm")];
        let known = |name: &&str| tracepoints.iter().any(|spec| spec.field_index(name).is_ok());
        for (column, name) in names.iter().enumerate() {
            if !own.contains(&Some(column)) && !known(&name.as_str()) {
                let fields = tracepoints.iter().flat_map(TracepointSpec::fields).map(|field| field.name.as_str());
                let nearest = nearest(name, fields.chain(["event", "time_ns", "time", "cpu", "pid", "comm"]));
                return Err(RecordingError::UnknownColumn { line, column: name.clone(), nearest });
            }
        }
        let [_, _, cpu, pid, comm] = own;
        let fields = tracepoints.iter().map(|_| None).collect();
        Ok(Header { event: of_event, time, cpu, pid, comm, fields, names })
    }

    fn row(&mut self, row: Row<'_>, event: Option<&str>, out: &mut Out<'_>) -> Result<(), RecordingError> {
        let line = row.line;
        if row.ends.len() != self.names.len() {
            return Err(RecordingError::Row { line, found: row.ends.len(), expected: self.names.len() });
        }
        let stamp = self.stamp(row)?;
        if stamp.cpu >= out.cpus {
            return Err(RecordingError::Cpu { line, cpu: stamp.cpu, cpus: out.cpus });
        }
        out.report.events += 1;
        out.report.cpus = out.report.cpus.max(stamp.cpu + 1);
        out.report.first_ns.get_or_insert(stamp.time_ns);
        out.report.last_ns = Some(stamp.time_ns);
        let event = self.event.map_or(event.unwrap_or_default().as_bytes(), |column| row.cell(column));
        let (system, event) = match memchr::memchr(b':', event) {
            Some(colon) => (&event[..colon], &event[colon + 1..]),
            None => (&[][..], event),
        };
        let name = out.names.find(system, event);
        out.names.count(name).seen += 1;
        let &Use::Tracepoint(which) = out.names.becomes(name) else {
            out.names.count(name).unmapped += 1;
            return Ok(());
        };
        let spec = &out.tracepoints[which];
        let columns = match &mut self.fields[which] {
            Some(columns) => columns,
            unknown => unknown.insert(columns_of(spec, &self.names, line)?),
        };
        let names = &self.names;
        out.events.push(which as u16, spec, stamp, |record| {
            columns.iter().enumerate().try_for_each(|(field, &column)| store(spec, field, row, column, names, record))
        })
    }

    fn stamp(&self, row: Row<'_>) -> Result<Stamp, RecordingError> {
        let wrong = |column: usize, expected| cell_error(row, column, &self.names, expected);
        let whole = |column: usize| number(row.cell(column), false).filter(|(_, rest)| rest.is_empty());
        let (column, in_ns) = self.time;
        let time_ns = if in_ns {
            let time = whole(column).and_then(|(time, _)| u64::try_from(time).ok());
            time.ok_or_else(|| wrong(column, "a time in nanoseconds"))?
        } else {
            seconds(row.cell(column)).ok_or_else(|| wrong(column, "a time in seconds, such as 12.000345678"))?
        };
        let small = |column: Option<usize>, expected| match column {
            None => Ok(0),
            Some(column) => {
                let number = whole(column).and_then(|(number, _)| i32::try_from(number).ok());
                number.filter(|&number| number >= 0).ok_or_else(|| wrong(column, expected))
            }
        };
        let cpu = small(self.cpu, "the number of a CPU")?.unsigned_abs();
        let pid = small(self.pid, "the number of a thread")?;
        let mut comm = [0; 16];
        if let Some(column) = self.comm {
            let name = row.cell(column);
            let name = &name[..name.len().min(COMM_LEN)];
            comm[..name.len()].copy_from_slice(name);
        } else if self.pid.is_none() {
            comm = crate::event::AXVISOR_COMM;
        }
        Ok(Stamp { time_ns, cpu, pid, comm })
    }
}

/// The columns of a tracepoint's fields.
fn columns_of(spec: &TracepointSpec, names: &[String], line: u64) -> Result<Vec<usize>, RecordingError> {
    let column = |field: &crate::event::Field| {
        names.iter().position(|name| *name == field.name).ok_or_else(|| RecordingError::NoColumn {
            line,
            column: field.name.clone(),
            why: format!("a field of {}", spec.name()),
            nearest: nearest(&field.name, names.iter().map(String::as_str)),
        })
    };
    spec.fields().iter().map(column).collect()
}

/// Stores a cell into its field.
fn store(
    spec: &TracepointSpec,
    field: usize,
    row: Row<'_>,
    column: usize,
    names: &[String],
    record: &mut [u8],
) -> Result<(), RecordingError> {
    let text = row.cell(column);
    let wrong = |expected| cell_error(row, column, names, expected);
    let value = |error| RecordingError::Value { line: row.line, error: Box::new(error) };
    match spec.fields()[field].ty {
        FieldType::Text(_) => spec.store(field, Value::Bytes(text), record).map_err(value),
        FieldType::Array(..) => {
            let numbers = array(text, None).ok_or_else(|| wrong("numbers, such as {1,2,3}"))?;
            spec.store(field, Value::Ints(&numbers), record).map_err(value)
        }
        FieldType::Scalar(_) => {
            let (number, _) = number(text, false)
                .filter(|(_, rest)| rest.is_empty())
                .ok_or_else(|| wrong("a whole number, decimal or 0x and hexadecimal"))?;
            spec.store_int(field, number, record).map_err(value)
        }
    }
}

fn cell_error(row: Row<'_>, column: usize, names: &[String], expected: &'static str) -> RecordingError {
    let cell = row.cell(column);
    let text = String::from_utf8_lossy(&cell[..cell.len().min(80)]).into_owned();
    RecordingError::Cell { line: row.line, column: names[column].clone(), text, expected }
}
