//! Following every path: rule 23.

use std::rc::Rc;
use std::sync::Arc;

use super::checkpoint::{Checkpoints, NONE, Need};
use super::error::{Branch, Refusal, VerifierError};
use super::state::{Frame, State};
use super::structure::Structure;
use super::value::{Kind, MapFacts, Origins, Pointer, Value};
use super::{Options, Rule, VerifiedProgram, depth, log, maps};
use crate::isa::{Op, Reg};
use crate::program::{Program, ProgramType};

/// Paths that wait to be followed, at most (measured).
const PENDING: usize = 8192;
/// Branches of a path that an error shows.
const SHOWN: usize = 16;

/// A branch of a path.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub insn: usize,
    pub taken: bool,
    /// The one before; [`NONE`] for none.
    pub before: u32,
}

/// What comes after an instruction.
pub enum Next {
    /// The path goes on.
    On,
    /// The path has ended.
    End,
}

/// A verification in progress.
pub struct Explorer<'a> {
    pub program: &'a Program,
    pub program_type: ProgramType,
    pub structure: Structure,
    pub maps: &'a [MapFacts],
    pub options: &'a Options,
    pub checkpoints: Checkpoints,
    /// Branches of all paths.
    pub trail: Vec<Step>,
    open: Vec<State>,
    processed: u32,
    /// How often the instruction at each slot was followed.
    followed: Vec<u32>,
    last_id: u32,
    /// Bytes of stack that each function uses, by its number.
    pub stack_use: Vec<u32>,
    /// How far into the context the program reaches.
    pub context_reach: u32,
    /// Whether the load or store at each slot is of the context, once some path has been there.
    pub of_context: Vec<Option<bool>>,
    /// The branches to follow, where one path is followed again to show it.
    pub script: Option<Vec<bool>>,
}

/// See [`super::verify`].
pub fn verify(
    program: Arc<Program>,
    maps: &[MapFacts],
    options: &Options,
) -> Result<VerifiedProgram, Box<VerifierError>> {
    let fail = |refusal: Refusal| Box::new(VerifierError::new(&program, refusal, None));
    let structure = Structure::new(&program.insns).map_err(fail)?;
    let program_type = program.program_type.unwrap_or(ProgramType::Axvisor);
    maps::check_program(&program, program_type, maps).map_err(fail)?;
    let mut explorer = Explorer::new(&program, structure, maps, options);
    let mut state = explorer.entry();
    let outcome = explorer.run(&mut state);
    if let Err(refusal) = outcome {
        let told = Told {
            path: explorer.path(&state),
            registers: refusal.registers.iter().map(|reg| (reg.number(), explorer.in_words(&state, *reg))).collect(),
            processed: explorer.processed,
            log: log::of_path(&mut explorer, &state, &refusal),
        };
        return Err(Box::new(VerifierError::new(&program, refusal, Some(told))));
    }
    depth::check(&explorer.structure, program_type, &explorer.stack_use).map_err(fail)?;
    let executed = explorer.followed.iter().map(|times| *times > 0).collect();
    let (processed, states) = (explorer.processed, explorer.checkpoints.saved);
    let context_reach = explorer.context_reach;
    Ok(VerifiedProgram { program, processed, states, executed, context_reach })
}

/// What is known of a refusal once paths are followed.
pub struct Told {
    path: Vec<Branch>,
    registers: Vec<(u8, String)>,
    processed: u32,
    log: String,
}

impl VerifierError {
    fn new(program: &Program, refusal: Refusal, told: Option<Told>) -> VerifierError {
        let Refusal { rule, insn, linux, what, hint, .. } = refusal;
        let text =
            crate::isa::decode(&program.insns, insn).map_or_else(|error| error.to_string(), |(op, _)| op.to_string());
        let (path, registers, processed, log) = match told {
            Some(Told { path, registers, processed, log }) => (path, registers, processed, log),
            None => (Vec::new(), Vec::new(), 0, format!("{linux}\n")),
        };
        let line = program.line_of(insn).cloned();
        VerifierError {
            program: program.name.clone(),
            rule,
            insn,
            text,
            line,
            linux,
            what,
            hint,
            registers,
            path,
            processed,
            log,
        }
    }
}

impl<'a> Explorer<'a> {
    fn new(program: &'a Program, structure: Structure, maps: &'a [MapFacts], options: &'a Options) -> Explorer<'a> {
        let slots = structure.len();
        let stack_use = vec![0; structure.functions.len()];
        Explorer {
            program,
            program_type: program.program_type.unwrap_or(ProgramType::Axvisor),
            structure,
            maps,
            options,
            checkpoints: Checkpoints::new(slots),
            trail: Vec::new(),
            open: Vec::new(),
            processed: 0,
            followed: vec![0; slots],
            last_id: 0,
            stack_use,
            context_reach: 0,
            of_context: vec![None; slots],
            script: None,
        }
    }

    /// The state that a program is entered with.
    pub fn entry(&self) -> State {
        let mut frame = Frame::new(0, 0, 0);
        let context = if self.program_type == ProgramType::Mem {
            let size = self.options.context_size.unwrap_or(0);
            frame.registers[2] = Value::constant(size.into());
            Kind::Memory { size }
        } else {
            Kind::Context
        };
        frame.registers[Reg::R1.index()] = Value::Pointer(Pointer::new(context));
        State {
            at: 0,
            frames: vec![Rc::new(frame)],
            reserved: Vec::new(),
            checkpoint: NONE,
            trail: NONE,
            steps: 0,
            jumps: 0,
            turns: 0,
        }
    }

    /// An id that nothing has.
    pub fn fresh_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// Something depends on a value.
    pub fn need(&mut self, state: &State, value: &Value, need: Need) {
        self.need_origins(state, value.from(), need);
    }

    /// As [`Explorer::need`].
    pub fn need_origins(&mut self, state: &State, origins: Origins, need: Need) {
        self.checkpoints.demand(state.checkpoint, origins, need);
    }

    /// The path divides: `later` is followed later, `state` now; `taken` says whether the branch is taken in the one for
    /// later. Where one path is followed again, it may go on as that: then the answer is true.
    pub fn fork(&mut self, state: &mut State, mut later: State, taken: bool) -> Result<bool, Refusal> {
        let insn = state.at;
        if let Some(script) = &mut self.script {
            let is_later = script.pop() == Some(taken);
            if is_later {
                *state = later;
            }
            return Ok(is_later);
        }
        if self.open.len() >= PENDING {
            let what = format!("{PENDING} paths wait to be followed; {}", self.where_spent());
            let linux = format!("The sequence of {} jumps is too complex.", PENDING + 1);
            return Err(Refusal::new(Rule::Termination, insn, linux, what));
        }
        later.trail = self.note(insn, taken, state.trail);
        state.trail = self.note(insn, !taken, state.trail);
        self.checkpoints.fork(state.checkpoint);
        self.open.push(later);
        Ok(false)
    }

    fn note(&mut self, insn: usize, taken: bool, before: u32) -> u32 {
        self.trail.push(Step { insn, taken, before });
        u32::try_from(self.trail.len() - 1).unwrap_or(NONE)
    }

    /// Follows all paths. Where a rule is broken, `state` is left as it was there.
    fn run(&mut self, state: &mut State) -> Result<(), Refusal> {
        loop {
            while self.arrive(state)? {
                self.count(state.at)?;
                if let Next::End = self.step(state)? {
                    break;
                }
            }
            self.checkpoints.ended(state.checkpoint);
            match self.open.pop() {
                Some(next) => *state = next,
                None => return Ok(()),
            }
        }
    }

    fn count(&mut self, at: usize) -> Result<(), Refusal> {
        self.processed += 1;
        if let Some(times) = self.followed.get_mut(at) {
            *times += 1;
        }
        if self.processed <= self.options.limit {
            return Ok(());
        }
        let linux = format!("BPF program is too large. Processed {} insn", self.processed);
        let what =
            format!("following every path takes more than {} instructions; {}", self.options.limit, self.where_spent());
        Err(Refusal::new(Rule::Termination, at, linux, what)
            .hint("bound the loop by a constant, or use bpf_loop(), whose body is followed once"))
    }

    /// Where the instructions went: the slot followed most, and how often.
    fn where_spent(&self) -> String {
        let most = self.followed.iter().enumerate().max_by_key(|(_, times)| **times);
        let Some((slot, times)) = most else { return String::new() };
        let place = match self.program.line_of(slot) {
            Some(line) => format!("{}:{}: {}", line.file, line.line, line.text.trim()),
            None => format!("instruction {slot}"),
        };
        format!("most of them went round {place} ({times} times)")
    }

    /// A path comes to an instruction; false where all that can follow has been seen.
    fn arrive(&mut self, state: &mut State) -> Result<bool, Refusal> {
        let at = state.at;
        if !self.structure.is_meeting_point(at) {
            return Ok(true);
        }
        if self.checkpoints.is_seen(state) {
            return Ok(false);
        }
        let is_turn = matches!(self.structure.op(at), Some(Op::MayGoto { .. }))
            || state.frame().callback.is_some() && state.frame().function == at;
        if is_turn {
            if self.checkpoints.is_turn_seen(state) {
                return Ok(false);
            }
        } else if self.checkpoints.is_repeated(state) {
            let what =
                "the path comes here a second time with the same in every register and stack slot, so it never ends";
            return Err(Refusal::new(Rule::Termination, at, format!("infinite loop detected at insn {at}"), what));
        }
        if is_turn || state.steps >= 8 && state.jumps >= 2 {
            self.checkpoints.save(state);
        }
        Ok(true)
    }

    /// The branches of a path, the latest ones.
    fn path(&self, state: &State) -> Vec<Branch> {
        let mut path = Vec::new();
        let mut at = state.trail;
        while path.len() < SHOWN
            && let Some(step) = self.trail.get(at as usize)
        {
            at = step.before;
            // Where a number was split, the program has no branch.
            if !matches!(self.structure.op(step.insn), Some(Op::Alu { .. })) {
                path.push(Branch {
                    insn: step.insn,
                    taken: step.taken,
                    line: self.program.line_of(step.insn).cloned(),
                });
            }
        }
        path.reverse();
        path
    }
}
