//! Source lines of linked programs.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::LoadReason;
use crate::btf::{Btf, BtfExt};
use crate::program::SourceLine;

/// Most bytes of names and source text that the programs of one object may hold.
const MAX_TEXT: u64 = 64 << 20;

/// Texts that several programs share, and how much there is of them.
#[derive(Default)]
pub(super) struct Texts {
    by_offset: HashMap<u32, Arc<str>>,
    bytes: u64,
}

impl Texts {
    /// Counts bytes that a program is about to hold.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), LoadReason> {
        self.bytes += bytes as u64;
        if self.bytes > MAX_TEXT {
            return Err(LoadReason::TooMany {
                what: "bytes of names and source text",
                found: self.bytes,
                limit: MAX_TEXT,
            });
        }
        Ok(())
    }

    fn get(&mut self, btf: &Btf, offset: u32) -> Result<Arc<str>, LoadReason> {
        if let Some(text) = self.by_offset.get(&offset) {
            return Ok(text.clone());
        }
        let text: Arc<str> = btf.text_at(offset)?.into();
        self.count(text.len())?;
        self.by_offset.insert(offset, text.clone());
        Ok(text)
    }
}

/// The lines of a function, for its place in a linked program: `slots` of the section go to `base`.
pub(super) fn rebase(
    ext: &BtfExt,
    btf: &Btf,
    section: &str,
    slots: std::ops::Range<usize>,
    base: usize,
    texts: &mut Texts,
    out: &mut Vec<SourceLine>,
) -> Result<(), LoadReason> {
    let lines = ext.section(section).map_or(&[][..], |section| &section.lines);
    let first = lines.partition_point(|line| (line.offset as usize) < slots.start * 8);
    for line in &lines[first..] {
        let slot = line.offset as usize / 8;
        if slot >= slots.end {
            break;
        }
        if line.offset.is_multiple_of(8) {
            out.push(SourceLine {
                insn: base + slot - slots.start,
                file: texts.get(btf, line.file)?,
                line: line.line,
                column: line.column,
                text: texts.get(btf, line.text)?,
            });
        }
    }
    Ok(())
}
