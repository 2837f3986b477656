//! `Map`: the bpf(2) side of a map.

use std::fmt::Display;
use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{self, BUFFER, Entries, Holds, MapKind, Operation, PerfEventArray, Refusal, Table};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bench::Shared;
use crate::error::{exception, map_error, number, text};
use crate::values::Values;

/// What a batch has read: keys, values, how many, and where the walk goes on unless it is at its end.
type Batch<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, u32, Option<Bound<'py, PyBytes>>);

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Map {
    shared: Arc<Shared>,
    /// Called under the lock of the bench only, but for its `spec` and what it holds.
    map: Arc<dyn map::Map>,
    index: usize,
    object: Option<usize>,
    key_type: Option<u32>,
    value_type: Option<u32>,
}

impl Map {
    pub(crate) fn of(bench: &axebpf_core::bench::Bench, shared: &Arc<Shared>, index: usize) -> PyResult<Map> {
        let Some(found) = bench.map(index) else {
            return Err(pyo3::exceptions::PyIndexError::new_err(format!("no map {index}")));
        };
        Ok(Map {
            shared: shared.clone(),
            // SAFETY: what a `Map` calls of it, it calls under the lock of the bench (but for what never changes).
            map: unsafe { found.shared() }.clone(),
            index,
            object: found.object,
            key_type: found.key_type,
            value_type: found.value_type,
        })
    }

    pub(crate) fn belongs_to(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Does something with the map while no program runs.
    fn with<T>(&self, py: Python<'_>, what: &str, use_it: impl FnOnce() -> Result<T, Errno>) -> PyResult<T> {
        let _bench = self.shared.enter(py)?;
        use_it().map_err(|errno| map_error(py, errno, &self.map.spec().name, &format!("{what}: {}", errno.text())))
    }

    /// As `with`, for an operation with flags: says which ones it does not take.
    fn with_flags<T>(
        &self,
        py: Python<'_>,
        (what, operation, flags): (&str, Operation, u64),
        use_it: impl FnOnce() -> Result<T, Errno>,
    ) -> PyResult<T> {
        let _bench = self.shared.enter(py)?;
        use_it().map_err(|errno| {
            let why = self.why(errno, operation, flags);
            map_error(py, errno, &self.map.spec().name, &format!("{what}: {why}"))
        })
    }

    /// What an errno means here.
    fn why(&self, errno: Errno, operation: Operation, flags: u64) -> String {
        let unknown = match errno {
            Errno::EINVAL => map::unknown_flags(self.map.spec().kind, operation, flags),
            _ => None,
        };
        unknown.unwrap_or_else(|| errno.text().to_owned())
    }

    /// Says which length is wrong, where Linux would only say `EINVAL`.
    fn check(&self, py: Python<'_>, what: impl Display, bytes: &[u8], expected: usize) -> PyResult<()> {
        if bytes.len() == expected {
            return Ok(());
        }
        let message = format!("the {what} has {} bytes, this map's have {expected}", bytes.len());
        Err(map_error(py, Errno::EINVAL, &self.map.spec().name, &message))
    }

    fn check_key(&self, py: Python<'_>, key: &[u8]) -> PyResult<()> {
        self.check(py, "key", key, self.map.spec().key_size as usize)
    }

    /// Bytes of a value as bpf(2) moves it: one a CPU, padded to 8, for the per-CPU kinds.
    fn raw_value_size(&self, py: Python<'_>) -> PyResult<usize> {
        let spec = self.map.spec();
        let size = spec.value_size as usize;
        let per_cpu = spec.kind.is_per_cpu();
        Ok(if per_cpu { size.next_multiple_of(8) * self.shared.enter(py)?.options().cpus as usize } else { size })
    }
}

#[pymethods]
impl Map {
    #[getter]
    fn name(&self) -> &str {
        &self.map.spec().name
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.map.spec().kind.name()
    }

    #[getter]
    fn key_size(&self) -> u32 {
        self.map.spec().key_size
    }

    #[getter]
    fn value_size(&self) -> u32 {
        self.map.spec().value_size
    }

    #[getter]
    fn max_entries(&self) -> u32 {
        self.map.spec().max_entries
    }

    #[getter]
    fn flags(&self) -> u32 {
        self.map.spec().flags
    }

    #[getter]
    fn extra(&self) -> u64 {
        self.map.spec().extra
    }

    /// Its number in the bench.
    #[getter]
    fn id(&self) -> usize {
        self.index
    }

    /// Takes it out of the bench; what holds it, holds it.
    fn remove(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.enter(py)?.remove_map(self.index);
        Ok(())
    }

    /// Number of the load that made it; none for a map made by hand.
    #[getter]
    fn object(&self) -> Option<usize> {
        self.object
    }

    /// BTF ids of key and value in the object that it came with.
    #[getter]
    fn types(&self) -> (Option<u32>, Option<u32>) {
        (self.key_type, self.value_type)
    }

    #[pyo3(signature = (key, flags=0))]
    fn lookup<'py>(&self, py: Python<'py>, key: &[u8], flags: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.check_key(py, key)?;
        let mut out = Vec::new();
        let found = self.with_flags(py, ("lookup", Operation::Lookup, flags), || {
            match self.map.lookup_user(key, flags, &mut out) {
                Err(Errno::ENOENT) => Ok(false),
                other => other.map(|()| true),
            }
        })?;
        found.then(|| bytes(py, &out)).transpose()
    }

    #[pyo3(signature = (key, value, flags=0))]
    fn update(&self, py: Python<'_>, key: &[u8], value: &[u8], flags: u64) -> PyResult<()> {
        self.check_key(py, key)?;
        self.check(py, "value", value, self.raw_value_size(py)?)?;
        let bench = self.shared.enter(py)?;
        // SAFETY: the map is of this bench.
        unsafe { bench.update_map(&*self.map, key, value, flags) }.map_err(|Refusal { errno, why }| {
            let why = why.unwrap_or_else(|| self.why(errno, Operation::Update, flags));
            map_error(py, errno, &self.map.spec().name, &format!("update: {why}"))
        })
    }

    /// Sets the value of one CPU; a key that is not there comes with zeroes for the others.
    fn update_cpu(&self, py: Python<'_>, key: &[u8], cpu: usize, value: &[u8]) -> PyResult<()> {
        self.check_key(py, key)?;
        let size = self.map.spec().value_size as usize;
        self.check(py, "value", value, size)?;
        let mut whole = Vec::new();
        let raw_size = self.raw_value_size(py)?;
        let start = cpu.saturating_mul(size.next_multiple_of(8));
        self.with(py, "update", || {
            match self.map.lookup_user(key, 0, &mut whole) {
                Err(Errno::ENOENT) => whole.resize(raw_size, 0),
                other => other?,
            }
            whole.get_mut(start..start + size).ok_or(Errno::EINVAL)?.copy_from_slice(value);
            self.map.update_user(key, &whole, 0)
        })
    }

    fn delete(&self, py: Python<'_>, key: &[u8]) -> PyResult<()> {
        self.check_key(py, key)?;
        let _bench = self.shared.enter(py)?;
        self.map.delete_user(key).map_err(|errno| self.not_deleted(py, ("delete", 0), errno, key, None))
    }

    #[pyo3(signature = (key=None))]
    fn next_key<'py>(&self, py: Python<'py>, key: Option<&[u8]>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if let Some(key) = key {
            self.check_key(py, key)?;
        }
        let mut out = Vec::new();
        let found = self.with(py, "next_key", || match self.map.next_key_user(key, &mut out) {
            Err(Errno::ENOENT) => Ok(false),
            other => other.map(|()| true),
        })?;
        Ok(found.then(|| PyBytes::new(py, &out)))
    }

    #[pyo3(signature = (value, flags=0))]
    fn push(&self, py: Python<'_>, value: &[u8], flags: u64) -> PyResult<()> {
        self.check(py, "value", value, self.map.spec().value_size as usize)?;
        self.with_flags(py, ("push", Operation::Update, flags), || self.map.update_user(&[], value, flags))
    }

    fn pop<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.taken(py, ("pop", Operation::Lookup, 0), |out| self.map.lookup_and_delete_user(&[], 0, out))
    }

    fn peek<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.taken(py, ("peek", Operation::Lookup, 0), |out| self.map.lookup_user(&[], 0, out))
    }

    #[pyo3(signature = (key, flags=0))]
    fn lookup_and_delete<'py>(&self, py: Python<'py>, key: &[u8], flags: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.check_key(py, key)?;
        self.taken(py, ("lookup_and_delete", Operation::Lookup, flags), |out| {
            self.map.lookup_and_delete_user(key, flags, out)
        })
    }

    /// Whether a bloom filter takes a value for present.
    #[pyo3(signature = (value, flags=0))]
    fn contains(&self, py: Python<'_>, value: &[u8], flags: u64) -> PyResult<bool> {
        self.check(py, "value", value, self.map.spec().value_size as usize)?;
        self.with_flags(py, ("lookup", Operation::Lookup, flags), || match self.map.contains_user(value, flags) {
            Err(Errno::ENOENT) => Ok(false),
            other => other.map(|()| true),
        })
    }

    #[pyo3(signature = (count, start=None, flags=0))]
    fn lookup_batch<'py>(&self, py: Python<'py>, count: u32, start: Option<&[u8]>, flags: u64) -> PyResult<Batch<'py>> {
        self.read_batch(py, ("lookup_batch", start, flags), |out| {
            map::lookup_batch(self.map.as_ref(), start, count, flags, out)
        })
    }

    #[pyo3(signature = (count, start=None, flags=0))]
    fn lookup_and_delete_batch<'py>(
        &self,
        py: Python<'py>,
        count: u32,
        start: Option<&[u8]>,
        flags: u64,
    ) -> PyResult<Batch<'py>> {
        let read = |out: &mut Entries| map::lookup_and_delete_batch(self.map.as_ref(), start, count, flags, out);
        self.read_batch(py, ("lookup_and_delete_batch", start, flags), read)
    }

    #[pyo3(signature = (entries, flags=0))]
    fn update_batch(&self, py: Python<'_>, entries: Vec<(Vec<u8>, Vec<u8>)>, flags: u64) -> PyResult<()> {
        let value_size = self.raw_value_size(py)?;
        for (n, (key, value)) in entries.iter().enumerate() {
            self.check(py, format_args!("key of entry {n}"), key, self.map.spec().key_size as usize)?;
            self.check(py, format_args!("value of entry {n}"), value, value_size)?;
        }
        let entries: Vec<_> = entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
        let bench = self.shared.enter(py)?;
        // SAFETY: the map is of this bench.
        unsafe { bench.update_map_batch(&*self.map, &entries, flags) }.map_err(|(done, Refusal { errno, why })| {
            let why = why.unwrap_or_else(|| self.why(errno, Operation::Batch, flags));
            let message = format!("update_batch: {why}, after {done} of {}", entries.len());
            exception(py, "MapError", (errno.0, message), &[("map", self.text(py)), ("done", number(py, done.into()))])
        })
    }

    #[pyo3(signature = (keys, flags=0))]
    fn delete_batch(&self, py: Python<'_>, keys: Vec<Vec<u8>>, flags: u64) -> PyResult<()> {
        for (n, key) in keys.iter().enumerate() {
            self.check(py, format_args!("key of entry {n}"), key, self.map.spec().key_size as usize)?;
        }
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        let _bench = self.shared.enter(py)?;
        map::delete_batch(self.map.as_ref(), &keys, flags).map_err(|(done, errno)| {
            let key = keys.get(done as usize).copied().unwrap_or_default();
            self.not_deleted(py, ("delete_batch", flags), errno, key, Some(done))
        })
    }

    fn freeze(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, "freeze", || self.map.freeze())
    }

    /// The oldest submitted record of a ring buffer.
    fn consume<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut out = Vec::new();
        let found = self.with(py, "consume", || self.map.consume_user(&mut out))?;
        found.then(|| bytes(py, &out)).transpose()
    }

    /// All submitted records of a ring buffer, one behind the other, and how many; none where one has another size.
    fn take<'py>(&self, py: Python<'py>, size: u32, name: &str) -> PyResult<(Bound<'py, PyBytes>, usize)> {
        let _bench = self.shared.enter(py)?;
        let mut sizes = Vec::new();
        self.with(py, "take", || self.map.record_sizes_user(&mut sizes))?;
        if let Some((n, other)) = (0..).zip(&sizes).find(|(_, other)| **other != size) {
            let message = format!(
                "record {n} of {} has {other} bytes, {name} {size}; none was taken: consume() takes them one by one",
                sizes.len()
            );
            return Err(map_error(py, Errno::EINVAL, &self.map.spec().name, &message));
        }
        let mut out = Vec::new();
        // Before the first is taken, so that none is lost.
        self.with(py, "take", || {
            out.try_reserve(sizes.len().saturating_mul(size as usize)).map_err(|_| Errno::ENOMEM)
        })?;
        for _ in &sizes {
            self.with(py, "take", || self.map.consume_user(&mut out))?;
        }
        Ok((bytes(py, &out)?, sizes.len()))
    }

    /// `bpf_ringbuf_query`.
    fn query(&self, py: Python<'_>, what: u64) -> PyResult<u64> {
        if self.map.spec().kind != MapKind::RingBuf {
            return Err(self.lacks(py, "query"));
        }
        self.with(py, "query", || Ok(self.map.query(what)))
    }

    /// How often commits have woken the consumer of a ring buffer.
    fn wakeups(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, "wakeups", || self.map.wakeups_user())
    }

    /// Of a map of maps, the map of a key, be it in the bench or not.
    fn inner(&self, py: Python<'_>, key: &[u8]) -> PyResult<Option<Map>> {
        self.check_key(py, key)?;
        let bench = self.shared.enter(py)?;
        let Holds::Maps(maps) = self.map.holds() else { return Err(self.lacks(py, "inner")) };
        Ok(maps.inner(key.into()).map(|inner| {
            let index = inner.number as usize;
            let known = bench.map(index);
            let types = known.map_or((None, None, None), |known| (known.object, known.key_type, known.value_type));
            let (object, key_type, value_type) = types;
            Map { shared: self.shared.clone(), map: inner.map, index, object, key_type, value_type }
        }))
    }

    /// Of a perf event array, opens the buffer of a CPU.
    #[pyo3(signature = (cpu, size=BUFFER))]
    fn open(&self, py: Python<'_>, cpu: u32, size: u64) -> PyResult<()> {
        let events = self.events(py, "open")?;
        self.with(py, "open", || events.open(cpu, size))
    }

    /// Whether the buffer of a CPU is open.
    fn is_open(&self, py: Python<'_>, cpu: u32) -> PyResult<bool> {
        let events = self.events(py, "is_open")?;
        self.with(py, "is_open", || Ok(events.is_open(cpu)))
    }

    /// CPU, time and data of the oldest record, of a CPU or of all.
    #[pyo3(signature = (cpu=None))]
    fn read<'py>(&self, py: Python<'py>, cpu: Option<u32>) -> PyResult<Option<(u32, u64, Bound<'py, PyBytes>)>> {
        let events = self.events(py, "read")?;
        let record = self.with(py, "read", || Ok(events.read(cpu)))?;
        Ok(record.map(|record| (record.cpu, record.time_ns, PyBytes::new(py, &record.data))))
    }

    /// CPU and number of the records that found no room, for each CPU that has had a buffer.
    fn lost(&self, py: Python<'_>) -> PyResult<Vec<(u32, u64)>> {
        let events = self.events(py, "lost")?;
        self.with(py, "lost", || Ok(events.lost()))
    }

    /// All keys and all values, one behind the other, and how many.
    fn dump<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>, usize)> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let count = self.with(py, "walk", || self.map.dump_user(&mut keys, &mut values))?;
        Ok((bytes(py, &keys)?, bytes(py, &values)?, count))
    }

    /// The memory of its values, where they lie in one place; otherwise none.
    fn values(slf: Bound<'_, Self>) -> PyResult<Option<Values>> {
        let py = slf.py();
        let map = slf.get();
        let found = map.with(py, "values", || match map.map.table_user() {
            Err(Errno::ENOTSUPP) => Ok(None),
            other => other.map(Some),
        })?;
        Ok(found.map(|table| Values::new(slf.unbind(), table.stride, table.plane)))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, "len", || Ok(self.map.len()))
    }
}

/// Bytes of Python's, of which there may be more than there is memory for.
fn bytes<'py>(py: Python<'py>, from: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, from.len(), |to| {
        to.copy_from_slice(from);
        Ok(())
    })
}

impl Map {
    /// The name, for an exception.
    fn text<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        text(py, &self.map.spec().name)
    }

    /// Why a key was not deleted, and how many of a batch were before.
    fn not_deleted(
        &self,
        py: Python<'_>,
        (what, flags): (&str, u64),
        errno: Errno,
        key: &[u8],
        done: Option<u32>,
    ) -> PyErr {
        let missing = errno == Errno::ENOENT;
        let why = if missing {
            format!("no entry with the key {}", hex(key))
        } else {
            self.why(errno, Operation::Batch, flags)
        };
        let after = done.map_or_else(String::new, |done| format!(", after {done}"));
        let mut keywords = vec![("map", self.text(py))];
        keywords.extend(done.map(|done| ("done", number(py, done.into()))));
        let class = if missing { "KeyNotFound" } else { "MapError" };
        exception(py, class, (errno.0, format!("{what}: {why}{after}")), &keywords)
    }

    fn read_batch<'py>(
        &self,
        py: Python<'py>,
        (what, start, flags): (&str, Option<&[u8]>, u64),
        read: impl FnOnce(&mut Entries) -> Result<(), Errno>,
    ) -> PyResult<Batch<'py>> {
        let mut out = Entries::default();
        let _bench = self.shared.enter(py)?;
        let more = match read(&mut out) {
            Ok(()) => true,
            Err(Errno::ENOENT) => false,
            Err(errno) => {
                let why = match start {
                    // Kinds check the flags first.
                    Some(start) if errno == Errno::EINVAL && flags == 0 => {
                        format!("it begins at {}, which no batch of this map has given as its next", hex(start))
                    }
                    _ => self.why(errno, Operation::Batch, flags),
                };
                return Err(map_error(py, errno, &self.map.spec().name, &format!("{what}: {why}")));
            }
        };
        let next = more.then(|| PyBytes::new(py, &out.next));
        Ok((bytes(py, &out.keys)?, bytes(py, &out.values)?, out.count, next))
    }

    fn lacks(&self, py: Python<'_>, what: &str) -> PyErr {
        let errno = Errno::ENOTSUPP;
        map_error(py, errno, &self.map.spec().name, &format!("{what}: {}", errno.text()))
    }

    fn events(&self, py: Python<'_>, what: &str) -> PyResult<&PerfEventArray> {
        match self.map.holds() {
            Holds::Events(events) => Ok(events),
            _ => Err(self.lacks(py, what)),
        }
    }

    /// Where its values lie.
    pub(crate) fn table(&self, py: Python<'_>) -> PyResult<Table> {
        self.with(py, "values", || self.map.table_user())
    }

    /// The core's map.
    pub(crate) fn core(&self) -> &dyn map::Map {
        &*self.map
    }

    fn taken<'py>(
        &self,
        py: Python<'py>,
        what: (&str, Operation, u64),
        from: impl FnOnce(&mut Vec<u8>) -> Result<(), Errno>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut out = Vec::new();
        let found = self.with_flags(py, what, || match from(&mut out) {
            Err(Errno::ENOENT) => Ok(false),
            other => other.map(|()| true),
        })?;
        found.then(|| bytes(py, &out)).transpose()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
