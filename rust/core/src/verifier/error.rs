//! Why a program is refused.

use std::fmt;

use super::Rule;
use crate::isa::Reg;
use crate::program::SourceLine;

/// A broken rule, before the path that led to it is known.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub rule: Rule,
    pub insn: usize,
    /// As Linux puts it.
    pub linux: String,
    /// In words of this bench.
    pub what: String,
    /// Registers that it is about.
    pub registers: Vec<Reg>,
    /// What would help.
    pub hint: Option<&'static str>,
}

impl Refusal {
    pub fn new(rule: Rule, insn: usize, linux: impl Into<String>, what: impl Into<String>) -> Refusal {
        Refusal { rule, insn, linux: linux.into(), what: what.into(), registers: Vec::new(), hint: None }
    }

    /// About these registers.
    pub fn about(mut self, registers: &[Reg]) -> Refusal {
        self.registers.extend_from_slice(registers);
        self
    }

    pub fn hint(mut self, hint: &'static str) -> Refusal {
        self.hint = Some(hint);
        self
    }
}

/// A branch on the way to a broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Slot of the conditional jump, or of the call that may call back.
    pub insn: usize,
    /// Whether it was taken.
    pub taken: bool,
    /// Its source line, where the object has line information.
    pub line: Option<SourceLine>,
}

/// A program that Linux would not load.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifierError {
    /// Program.
    pub program: String,
    /// The broken rule.
    pub rule: Rule,
    /// Slot of the instruction that breaks it.
    pub insn: usize,
    /// That instruction.
    pub text: String,
    /// Its source line, where the object has line information.
    pub line: Option<SourceLine>,
    /// What Linux's verifier says.
    pub linux: String,
    /// What is wrong.
    pub what: String,
    /// What would help, where the cause is a known one.
    pub hint: Option<&'static str>,
    /// The registers that matter, with what is known of them.
    pub registers: Vec<(u8, String)>,
    /// The branches that led there, in order; the latest ones where there are many.
    pub path: Vec<Branch>,
    /// Instructions followed until then.
    pub processed: u32,
    /// The instructions of the path with what they changed, as the kernel's log has them; the latest ones where there
    /// are many.
    pub log: String,
}

impl std::error::Error for VerifierError {}

/// A source line without what leads to it.
fn place(line: Option<&SourceLine>) -> Option<String> {
    line.map(|line| format!("{}:{}: {}", line.file, line.line, line.text.trim()))
}

impl fmt::Display for VerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VerifierError { program, rule, insn, text, linux, what, .. } = self;
        write!(f, "{program}, instruction {insn}: {linux}: {what} (rule {}, {})", rule.number(), rule.title())?;
        match place(self.line.as_ref()) {
            Some(line) => {
                write!(f, "\n  {line}")?;
                if let Some(SourceLine { text, column: column @ 1.., .. }) = &self.line {
                    let indent = text.len() - text.trim_start().len();
                    let lead = line.len() - text.trim().len();
                    let at = lead + (*column as usize - 1).saturating_sub(indent);
                    write!(f, "\n  {:at$}^", "")?;
                }
            }
            None => write!(f, "\n  {text}")?,
        }
        for (register, value) in &self.registers {
            write!(f, "\n  r{register} is {value}")?;
        }
        if !self.path.is_empty() {
            f.write_str("\n  on the path:")?;
        }
        for branch in &self.path {
            let taken = if branch.taken { "taken" } else { "not taken" };
            match place(branch.line.as_ref()) {
                Some(line) => write!(f, "\n    {line} ({taken})")?,
                None => write!(f, "\n    instruction {} ({taken})", branch.insn)?,
            }
        }
        if let Some(hint) = self.hint {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}
