//! Pieces of a file into lines.

use memchr::memchr;

/// Bytes of the longest line that is read; Linux's trace buffer has less room for one.
pub const LONGEST_LINE: usize = 1 << 16;

/// What one call sees of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole line, without its end.
    Line(&'a [u8]),
    /// The end of the file came before the end of the line.
    Cut(&'a [u8]),
    /// More than [`LONGEST_LINE`] bytes, which were passed over.
    TooLong,
}

/// Cuts a file that comes in pieces into lines, which end with `\n` or `\r\n`.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
    /// The line is longer than the longest: its end is looked for.
    skipping: bool,
    line: u64,
}

impl Lines {
    /// Number of the last line that was seen, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.line
    }

    /// Calls `see` with the number of each line that ends in this piece, and what there is of it; after the `last`
    /// piece, also for what has no end.
    ///
    /// # Errors
    /// The first one of `see`; then what follows in the piece is lost.
    pub fn feed<E>(
        &mut self,
        mut piece: &[u8],
        last: bool,
        mut see: impl FnMut(u64, Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, behind) = (&piece[..end], &piece[end + 1..]);
            piece = behind;
            self.line += 1;
            if self.skipping || self.rest.len() + line.len() > LONGEST_LINE {
                self.skipping = false;
                self.rest.clear();
                see(self.line, Piece::TooLong)?;
            } else if self.rest.is_empty() {
                see(self.line, Piece::Line(trim_end(line)))?;
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                let seen = see(self.line, Piece::Line(trim_end(&whole)));
                whole.clear();
                self.rest = whole;
                seen?;
            }
        }
        if self.rest.len() + piece.len() > LONGEST_LINE {
            self.skipping = true;
            self.rest.clear();
        }
        if !self.skipping {
            self.rest.extend_from_slice(piece);
        }
        if last && (self.skipping || !self.rest.is_empty()) {
            self.line += 1;
            let cut = std::mem::take(&mut self.rest);
            let piece = if std::mem::take(&mut self.skipping) { Piece::TooLong } else { Piece::Cut(&cut) };
            see(self.line, piece)?;
        }
        Ok(())
    }
}

fn trim_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
