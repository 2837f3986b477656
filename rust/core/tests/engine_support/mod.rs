//! What the engine tests share: a program and its surroundings, run on every engine that there is.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each test binary uses its part

#[path = "../random/mod.rs"]
mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use axebpf_core::engine::{EngineError, Input, Interpreter, Observer, Outcome, Runnable, Stack};
use axebpf_core::fault::Fault;
use axebpf_core::helper::{Host, Task, VmContext};
use axebpf_core::isa::asm::Symbols;
use axebpf_core::isa::{Insn, assemble_with};
use axebpf_core::map::{Map, MapKind, MapSet, MapSpec, create};
use axebpf_core::memory::{Arena, Bytes, Memory, Window};
use axebpf_core::program::{Program, ProgramType, SourceLine, Subprogram};
pub use random::Random;

/// What fresh stacks hold unless a test says otherwise.
pub const PATTERN: u64 = 0xa5a5_5a5a_c3c3_3c3c;

/// A host whose helpers of the user's add up their arguments.
pub struct World;

impl Host for World {
    fn now(&self) -> u64 {
        7
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn random(&self) -> u32 {
        4
    }
    fn task(&self) -> Task {
        Task::default()
    }
    fn vm_context(&self) -> VmContext {
        VmContext::default()
    }
    fn print(&self, _text: &str) {}
    fn custom_helper(&self, _id: u32, args: [u64; 5], _memory: &mut Memory<'_>) -> Result<u64, Box<Fault>> {
        Ok(args.into_iter().fold(0, u64::wrapping_add))
    }
}

/// Assembles; helpers go by their names, maps by `map[0]` and so on.
pub fn assemble(text: &str) -> Vec<Insn> {
    let helper = |name: &str| axebpf_core::helper::by_name(name).ok().map(|helper| helper.id);
    let symbols = Symbols { helper: &helper, map: &|_| None };
    assemble_with(text, &symbols).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A program of type `mem` named `test`, each of whose lines of text is a source line.
pub fn program(insns: Vec<Insn>, maps: &[Arc<dyn Map>]) -> Program {
    let line = |insn: usize| SourceLine {
        insn,
        file: "test.c".into(),
        line: insn as u32 + 1,
        column: 1,
        text: format!("  slot {insn}").into(),
    };
    Program {
        name: "test".to_owned(),
        section: String::new(),
        program_type: Some(ProgramType::Mem),
        target: None,
        lines: (0..insns.len()).map(line).collect(),
        insns,
        maps: maps.iter().map(|map| map.spec().name.clone()).collect(),
        subprograms: vec![Subprogram { name: "test".to_owned(), start: 0 }],
        license: "GPL".to_owned(),
    }
}

/// A map of two CPUs.
pub fn map(name: &str, kind: MapKind, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> Arc<dyn Map> {
    create(MapSpec { name: name.to_owned(), kind, key_size, value_size, max_entries, flags, extra: 0 }, 2).unwrap()
}

/// A program with memory around it.
pub struct Lab {
    pub runnable: Box<dyn Runnable>,
    pub maps: Vec<Arc<dyn Map>>,
    pub stack: Stack,
    pub budget: u64,
    /// Whether atomic instructions need not be ones of the machine.
    pub alone: bool,
    /// What the program gets as its context, all of it or from `hidden` on.
    pub context: Arena,
    pub context_len: u64,
    pub hidden: u64,
    pub writable: bool,
}

impl Lab {
    /// The program in the interpreter, with a writable context of so many bytes.
    pub fn load(program: Program, maps: &[Arc<dyn Map>], context_len: usize) -> Result<Lab, EngineError> {
        let set = MapSet(maps.to_vec());
        Ok(Lab {
            runnable: Interpreter.load(Arc::new(program), set)?,
            maps: maps.to_vec(),
            stack: Stack::new(PATTERN).unwrap(),
            budget: 1 << 20,
            alone: false,
            context: Arena::new(context_len).unwrap(),
            context_len: context_len as u64,
            hidden: 0,
            writable: true,
        })
    }

    pub fn new(text: &str) -> Lab {
        Lab::with(text, &[], 64)
    }

    pub fn with(text: &str, maps: &[Arc<dyn Map>], context_len: usize) -> Lab {
        Lab::load(program(assemble(text), maps), maps, context_len).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn input(&self) -> Input<'_> {
        let start = self.context.address();
        let (len, writable) = (self.context_len - self.hidden, self.writable);
        let context = Window { start: start + self.hidden, len, writable };
        Input {
            args: [start, self.context_len],
            context,
            extra: &[],
            host: &World,
            budget: self.budget,
            alone: self.alone,
        }
    }

    pub fn run(&mut self) -> Outcome {
        let mut stack = std::mem::replace(&mut self.stack, Stack::new(0).unwrap());
        // SAFETY: the context is an arena, into which nobody holds references.
        let outcome = unsafe { self.runnable.run(&mut stack, &self.input()) };
        self.stack = stack;
        outcome
    }

    pub fn observe(&mut self, observer: &mut dyn Observer) -> Outcome {
        let mut stack = std::mem::replace(&mut self.stack, Stack::new(0).unwrap());
        // SAFETY: as in `run`.
        let outcome = unsafe { self.runnable.observe(&mut stack, &self.input(), observer) };
        self.stack = stack;
        outcome
    }

    /// Bytes of the context.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: an arena, which nobody writes to now.
        unsafe { Bytes::from_raw(self.context.as_ptr(), self.context_len as usize) }.to_vec()
    }

    pub fn put(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.context.len());
        // SAFETY: inside the arena, into which nobody holds references.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.context.as_ptr(), bytes.len()) };
    }
}

/// `r0`, or the fault as a person reads it.
pub fn told(outcome: &Outcome) -> String {
    match &outcome.result {
        Ok(r0) => format!("{r0:#x}"),
        Err(fault) => fault.to_string(),
    }
}

/// The name of a fault in small letters, as the conformance vectors have it.
pub fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Memory { .. } => "memory",
        Fault::Budget { .. } => "budget",
        Fault::CallDepth { .. } => "call_depth",
        Fault::OffTheEnd { .. } => "off_the_end",
        Fault::Instruction { .. } => "instruction",
        Fault::Helper { .. } => "helper",
        Fault::TailCalled(_) => "tail_called",
        Fault::Foreign(_) => "foreign",
    }
}

/// The faults that a program would have ended in, had the engine taken it.
pub fn refused_for(error: &EngineError) -> &'static [&'static str] {
    match error {
        EngineError::Decode { .. } => &["instruction"],
        // A store beyond the frame and a write to r10 are seen before the program runs.
        EngineError::Unsupported { .. } => &["instruction", "memory"],
        EngineError::Target { .. } => &["off_the_end", "instruction"],
        EngineError::Helper { .. } => &["helper"],
        EngineError::Empty { .. } | EngineError::Map { .. } => &[],
    }
}

/// Counts every instruction the slow way.
#[derive(Default)]
pub struct Counter {
    pub counts: BTreeMap<usize, u64>,
    pub total: u64,
    pub deepest: usize,
    pub steps: Vec<(usize, [u64; 11], usize)>,
    /// Whether to keep `steps`.
    pub keep: bool,
    /// Ends the run before this many.
    pub stop_at: Option<u64>,
}

impl Observer for Counter {
    fn before(&mut self, insn: usize, registers: &[u64; 11], depth: usize) -> Result<(), Box<Fault>> {
        if self.stop_at == Some(self.total) {
            return Err(Box::new(Fault::Instruction { what: "enough".to_owned() }));
        }
        *self.counts.entry(insn).or_default() += 1;
        self.total += 1;
        self.deepest = self.deepest.max(depth);
        if self.keep {
            self.steps.push((insn, *registers, depth));
        }
        Ok(())
    }
}
