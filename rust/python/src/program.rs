//! `Program`: a loaded program; and what concerns instructions as text.

use std::sync::Arc;

use axebpf_core::bench::{self, ByHand, Step, Steps};
use axebpf_core::engine::Observer;
use axebpf_core::fault::Fault;
use axebpf_core::helper::{self, VmContext};
use axebpf_core::isa::{self, Insn, Names};
use axebpf_core::memory::Memory;
use axebpf_core::program::Program as CoreProgram;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyTuple};

use crate::bench::Shared;
use crate::error::{Error, exception, program_fault};
use crate::portability::{self, Report};

/// See the stub.
#[pyclass(frozen, module = "axebpf._native")]
pub(crate) struct Program {
    shared: Arc<Shared>,
    pub(crate) index: usize,
    program: Arc<CoreProgram>,
}

impl Program {
    pub(crate) fn belongs_to(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    pub(crate) fn of(bench: &bench::Bench, shared: &Arc<Shared>, index: usize) -> PyResult<Program> {
        let found = bench.program(index).ok_or(bench::BenchError::NoProgram { index }).map_err(Error::from)?;
        Ok(Program { shared: shared.clone(), index, program: found.program().clone() })
    }
}

/// Slot, file, line, column, text of a source line.
type Line = (usize, String, u32, u32, String);

pub(crate) fn lines(program: &CoreProgram) -> Vec<Line> {
    let line =
        |l: &axebpf_core::program::SourceLine| (l.insn, l.file.to_string(), l.line, l.column, l.text.to_string());
    program.lines.iter().map(line).collect()
}

pub(crate) fn subprograms(program: &CoreProgram) -> Vec<(String, usize)> {
    program.subprograms.iter().map(|s| (s.name.clone(), s.start)).collect()
}

/// `r0` or the fault, instructions, helper calls, printed lines, the context afterwards.
type Ran<'py> = (Option<u64>, Option<Py<PyAny>>, Option<u64>, u64, Vec<String>, Bound<'py, PyBytes>);

/// How much a run took, the time of its event, and the CPU.
type Worst = (u64, u64, u32);

/// The worst run by instructions, and by helper calls; none where no run had any.
fn worst(runs: bench::WorstRuns) -> (Option<Worst>, Option<Worst>) {
    let worst = |run: bench::WorstRun| (run.count > 0).then_some((run.count, run.time_ns, run.cpu));
    (worst(runs.instructions), worst(runs.calls))
}

#[pymethods]
impl Program {
    #[getter]
    fn id(&self) -> usize {
        self.index
    }

    #[getter]
    pub(crate) fn name(&self) -> &str {
        &self.program.name
    }

    #[getter]
    fn section(&self) -> &str {
        &self.program.section
    }

    #[getter(r#type)]
    fn program_type(&self) -> Option<&'static str> {
        self.program.program_type.map(|of| of.name())
    }

    #[getter]
    fn target(&self) -> Option<&str> {
        self.program.target.as_deref()
    }

    #[getter]
    fn license(&self) -> &str {
        &self.program.license
    }

    #[getter]
    fn maps(&self) -> Vec<String> {
        self.program.maps.clone()
    }

    /// The instructions, 8 bytes each.
    #[getter]
    fn insns<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let code: Vec<u8> = self.program.insns.iter().flat_map(|insn| insn.to_bytes()).collect();
        PyBytes::new(py, &code)
    }

    /// The instructions as text.
    fn text(&self) -> String {
        disassembly(&self.program.insns, &self.program.maps)
    }

    /// Slot, file, line, column, text of each source line.
    #[getter]
    fn lines(&self) -> Vec<Line> {
        lines(&self.program)
    }

    /// Name and first slot of the entry and each subprogram.
    #[getter]
    fn subprograms(&self) -> Vec<(String, usize)> {
        subprograms(&self.program)
    }

    /// Runs, misses, faults, instructions, helper calls.
    fn counts(&self, py: Python<'_>) -> PyResult<(u64, u64, u64, Option<u64>, u64)> {
        let bench = self.shared.enter(py)?;
        let counts = self.found(&bench)?.counts();
        Ok((counts.runs, counts.misses, counts.faults, counts.instructions, counts.calls))
    }

    /// The runs that took the most: of all, or since a watch began.
    #[pyo3(signature = (watch=None))]
    fn worst(&self, py: Python<'_>, watch: Option<u64>) -> PyResult<(Option<Worst>, Option<Worst>)> {
        let bench = self.shared.enter(py)?;
        let program = self.found(&bench)?;
        Ok(worst(match watch {
            None => program.counts().worst,
            Some(watch) => program.watched(watch).unwrap_or_default(),
        }))
    }

    /// Begins to watch for the runs that take the most; the number of the watch.
    fn watch(&self, py: Python<'_>) -> PyResult<u64> {
        let bench = self.shared.enter(py)?;
        Ok(self.found(&bench)?.watch())
    }

    fn unwatch(&self, py: Python<'_>, watch: u64) -> PyResult<()> {
        let bench = self.shared.enter(py)?;
        self.found(&bench)?.unwatch(watch);
        Ok(())
    }

    /// Of the latest run, the slot of its last instruction, and how many the bench had executed by then.
    fn last_run(&self, py: Python<'_>) -> PyResult<Option<(usize, u64)>> {
        let bench = self.shared.enter(py)?;
        Ok(self.found(&bench)?.last_run().map(|last| (last.insn, last.at)))
    }

    /// Slot and number of executions of each instruction.
    fn profile(&self, py: Python<'_>) -> PyResult<Vec<(usize, u64)>> {
        let bench = self.shared.enter(py)?;
        Ok(self.found(&bench)?.profile().map_err(Error::from)?)
    }

    fn reset_profile(&self, py: Python<'_>) -> PyResult<()> {
        let bench = self.shared.enter(py)?;
        if let Some(runnable) = self.found(&bench)?.runnable() {
            runnable.reset_counts();
        }
        Ok(())
    }

    /// See `portability.rs`.
    fn portability(&self, py: Python<'_>, target: &str) -> PyResult<Report> {
        let target = portability::target(py, target)?;
        let found = self.shared.enter(py)?.portability(self.index, target).map_err(Error::from)?;
        Ok(portability::report(found))
    }

    #[pyo3(signature = (force=false))]
    fn unload(&self, py: Python<'_>, force: bool) -> PyResult<()> {
        Ok(self.shared.enter(py)?.unload(self.index, force).map_err(Error::from)?)
    }

    /// A second program of the same instructions, on the same maps.
    fn load_again(&self, py: Python<'_>) -> PyResult<Program> {
        let bench = self.shared.enter(py)?;
        let index = bench.load_again(self.index).map_err(Error::from)?;
        Program::of(&bench, &self.shared, index)
    }

    #[pyo3(signature = (ctx, time_ns=None, cpu=None, vm=None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        ctx: &[u8],
        time_ns: Option<u64>,
        cpu: Option<u32>,
        vm: Option<(u32, u32, u64)>,
    ) -> PyResult<Ran<'py>> {
        self.run_with(py, ctx, by_hand(time_ns, cpu, vm), None)
    }

    /// As `run`, with a tuple (slot, depth, registers r0 to r10) for each of the first `limit` instructions.
    #[pyo3(signature = (ctx, limit, time_ns=None, cpu=None, vm=None))]
    fn steps<'py>(
        &self,
        py: Python<'py>,
        ctx: &[u8],
        limit: usize,
        time_ns: Option<u64>,
        cpu: Option<u32>,
        vm: Option<(u32, u32, u64)>,
    ) -> PyResult<(Ran<'py>, Bound<'py, PyList>)> {
        let mut seen = Steps::new(limit);
        let ran = self.run_with(py, ctx, by_hand(time_ns, cpu, vm), Some(&mut seen))?;
        Ok((ran, steps(py, seen.into_vec())?))
    }
}

/// Slot, depth and r0 to r10 of each step.
pub(crate) fn steps(py: Python<'_>, steps: Vec<Step>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for Step { insn, depth, registers } in steps {
        list.append((insn, depth, PyTuple::new(py, registers)?))?;
    }
    Ok(list)
}

fn by_hand(time_ns: Option<u64>, cpu: Option<u32>, vm: Option<(u32, u32, u64)>) -> ByHand {
    let vm = vm.map(|(vm_id, vcpu_id, exit_reason)| VmContext { vm_id, vcpu_id, exit_reason });
    ByHand { time_ns, cpu, vm }
}

impl Program {
    fn found<'b>(&self, bench: &'b bench::Bench) -> Result<&'b bench::BenchProgram, PyErr> {
        let index = self.index;
        Ok(bench.program(index).ok_or(bench::BenchError::NoProgram { index }).map_err(Error::from)?)
    }

    fn run_with<'py>(
        &self,
        py: Python<'py>,
        ctx: &[u8],
        how: ByHand,
        observer: Option<&mut dyn Observer>,
    ) -> PyResult<Ran<'py>> {
        let bench = self.shared.enter(py)?;
        // On the boundary that a C structure would have.
        let mut words = vec![0_u64; ctx.len().div_ceil(8)];
        // SAFETY: the words have at least as many bytes, any of which may be written.
        let context = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), ctx.len()) };
        context.copy_from_slice(ctx);
        let ran = bench.run_program(self.index, context, how, observer).map_err(Error::from)?;
        let (r0, fault) = match ran.result {
            Ok(r0) => (Some(r0), None),
            Err(fault) => (None, Some(program_fault(py, &fault).into_value(py).into_any())),
        };
        Ok((r0, fault, ran.instructions, ran.calls, ran.printed, PyBytes::new(py, context)))
    }
}

fn disassembly(insns: &[Insn], maps: &[String]) -> String {
    let map = |slot: i32| usize::try_from(slot).ok().and_then(|slot| maps.get(slot)).map(String::as_str);
    let names = Names { helper: &|id| helper::by_id(id).map(|helper| helper.name), map: &map };
    isa::disassemble(insns, &names)
}

/// Instructions, 8 bytes each, of assembler text in the kernel's notation.
#[pyfunction]
pub(crate) fn assemble<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyBytes>> {
    let helper = |name: &str| helper::by_name(name).ok().map(|helper| helper.id);
    let symbols = isa::asm::Symbols { helper: &helper, map: &|_| None };
    let insns = isa::assemble_with(text, &symbols).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let code: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    Ok(PyBytes::new(py, &code))
}

/// Assembler text of instructions.
#[pyfunction]
#[pyo3(signature = (code, maps=Vec::new()))]
pub(crate) fn disassemble(code: &[u8], maps: Vec<String>) -> PyResult<String> {
    let (slots, rest) = code.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(PyValueError::new_err(format!("{} bytes are no whole number of 8-byte instructions", code.len())));
    }
    let insns: Vec<Insn> = slots.iter().map(|slot| Insn::from_bytes(*slot)).collect();
    Ok(disassembly(&insns, &maps))
}

/// See [`helpers`].
type HelperRow = (u32, String, Option<String>, bool, Vec<String>);

/// Id, name, prototype (None where not offered), GPL-only, names of the program types of each helper.
#[pyfunction]
pub(crate) fn helpers() -> Vec<HelperRow> {
    use axebpf_core::program::ProgramType;
    let row = |helper: &helper::Helper| {
        let types = ProgramType::ALL.iter().filter(|(of, _)| helper.types.contains(*of));
        let types = types.map(|(_, name)| (*name).to_owned()).collect();
        (helper.id, helper.name.to_owned(), helper.prototype(), helper.gpl_only, types)
    };
    helper::all().iter().map(row).collect()
}

/// What a helper of the user's takes: a number of so many bits, or memory, whose size is another argument.
#[derive(FromPyObject)]
enum Parameter {
    #[pyo3(transparent)]
    Number(Number),
    #[pyo3(transparent)]
    Memory(Area),
}

/// `{"bits": …, "signed": …}`
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Number {
    bits: u32,
    signed: bool,
}

/// `{"size": index of the argument, "size_bits": its width, "writable": …}`
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Area {
    size: usize,
    size_bits: u32,
    writable: bool,
}

/// Calls a helper of the user's: `entry` is the function with its parameters and the type of its result.
///
/// The outer result is for errors of Python, the inner one for those of the program that calls.
pub(crate) fn call_helper(
    entry: &Bound<'_, PyAny>,
    registers: [u64; 5],
    memory: &mut Memory<'_>,
) -> PyResult<Result<u64, Box<Fault>>> {
    let py = entry.py();
    let (function, parameters): (Bound<'_, PyAny>, Vec<Parameter>) = entry.extract()?;
    let mut args = Vec::with_capacity(parameters.len());
    let mut written = Vec::new();
    for (parameter, &register) in parameters.iter().zip(&registers) {
        match *parameter {
            Parameter::Number(Number { bits, signed }) => {
                let shift = 64 - bits.clamp(1, 64);
                if signed {
                    args.push((((register << shift) as i64) >> shift).into_pyobject(py)?.into_any());
                } else {
                    args.push(((register << shift) >> shift).into_pyobject(py)?.into_any());
                }
            }
            Parameter::Memory(Area { size, size_bits, writable }) => {
                let shift = 64 - size_bits.clamp(1, 64);
                let len = (registers.get(size).copied().unwrap_or(0) << shift) >> shift;
                let bytes = match memory.bytes(register, usize::try_from(len).unwrap_or(usize::MAX)) {
                    Ok(bytes) => bytes.to_vec(),
                    Err(fault) => return Ok(Err(fault)),
                };
                if writable {
                    let buffer = PyByteArray::new(py, &bytes);
                    written.push((register, bytes.len(), buffer.clone()));
                    args.push(buffer.into_any());
                } else {
                    args.push(PyBytes::new(py, &bytes).into_any());
                }
            }
        }
    }
    let result = function.call1(PyTuple::new(py, args)?)?;
    for (address, len, buffer) in written {
        match memory.bytes_mut(address, len) {
            Ok(mut out) => out.fill_from(&buffer.to_vec()),
            Err(fault) => return Ok(Err(fault)),
        }
    }
    if result.is_none() {
        return Ok(Ok(0));
    }
    // What fits r0, signed or unsigned.
    if let Ok(number) = result.extract::<u64>() {
        return Ok(Ok(number));
    }
    match result.extract::<i64>() {
        Ok(number) => Ok(Ok(number as u64)),
        Err(_) => {
            let message = format!("a helper returns None or an integer of 64 bits, not {}", result.repr()?);
            Err(exception(py, "HelperError", (message,), &[]))
        }
    }
}
