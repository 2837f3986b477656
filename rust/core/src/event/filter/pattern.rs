//! What text is compared with: a text, or a pattern of `*`, `?` and `[set]`.
//!
//! Patterns mean what they mean to Linux 6.18 (measured): `*` is any bytes, `?` one byte, `[a-c]` one of a set, `[!a-c]`
//! one outside it, `\` takes the next byte as it is, and a `[` that is not closed is itself. A set begins with any byte,
//! `]` too. Where Linux has two ways, one of them wrong, this is the other: a pattern that begins with a digit is one
//! here, and `*end` finds the end of the text, not of the field.

/// The longest pattern, in bytes, as on Linux. It bounds the time of a match, which is at most the product of the
/// lengths of pattern and text.
pub const MAX_PATTERN: usize = 255;

/// What a text is compared with.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Exactly these bytes.
    Exact(Box<[u8]>),
    /// A pattern.
    Glob(Box<[Piece]>),
}

/// A part of a pattern.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Byte(u8),
    AnyByte,
    AnyBytes,
    /// A bit for each byte.
    Set(Box<[u64; 4]>),
}

impl Pattern {
    /// Reads a pattern; true with it where it begins with `!`, which turns its answer round.
    pub(super) fn glob(text: &[u8]) -> (bool, Pattern) {
        let (negated, mut rest) = match text {
            [b'!', rest @ ..] => (true, rest),
            text => (false, text),
        };
        let mut pieces = Vec::new();
        while let [byte, after @ ..] = rest {
            rest = after;
            match byte {
                b'*' => pieces.push(Piece::AnyBytes),
                b'?' => pieces.push(Piece::AnyByte),
                b'[' => match set(after) {
                    Some((set, after)) => {
                        pieces.push(Piece::Set(Box::new(set)));
                        rest = after;
                    }
                    None => pieces.push(Piece::Byte(b'[')),
                },
                b'\\' => {
                    // At the end it escapes nothing.
                    if let [escaped, after @ ..] = after {
                        pieces.push(Piece::Byte(*escaped));
                        rest = after;
                    }
                }
                &byte => pieces.push(Piece::Byte(byte)),
            }
        }
        (negated, Pattern::Glob(pieces.into()))
    }

    /// Whether a text is like this; it ends at its first NUL.
    pub(super) fn is_like(&self, field: &[u8]) -> bool {
        let text = field.split(|&byte| byte == 0).next().unwrap_or_default();
        match self {
            Pattern::Exact(bytes) => text == &**bytes,
            Pattern::Glob(pieces) => glob(pieces, text),
        }
    }
}

/// A set behind its `[`, and what follows its `]`; None where there is none.
fn set(text: &[u8]) -> Option<([u64; 4], &[u8])> {
    let (inverted, mut rest) = match text {
        [b'!', rest @ ..] => (true, rest),
        text => (false, text),
    };
    let mut set = [0; 4];
    let mut first = true;
    loop {
        let (low, high) = match rest {
            [b']', after @ ..] if !first => {
                let set = if inverted { set.map(|bits: u64| !bits) } else { set };
                return Some((set, after));
            }
            [low, b'-', high, after @ ..] if *high != b']' => {
                rest = after;
                (*low, *high)
            }
            [byte, after @ ..] => {
                rest = after;
                (*byte, *byte)
            }
            [] => return None,
        };
        first = false;
        (low..=high).for_each(|byte| set[usize::from(byte >> 6)] |= 1 << (byte & 63));
    }
}

/// Goes on at the last `*` where a match fails; going back further never helps, because that `*` takes whatever one
/// before it would have taken.
fn glob(pieces: &[Piece], text: &[u8]) -> bool {
    let (mut piece, mut byte) = (0, 0);
    // The piece behind the last `*`, and the byte up to which that has taken.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let fits = match (pieces.get(piece), text.get(byte)) {
            (None, None) => return true,
            (Some(Piece::AnyBytes), _) => {
                piece += 1;
                if piece == pieces.len() {
                    return true;
                }
                star = Some((piece, byte));
                continue;
            }
            (Some(Piece::AnyByte), Some(_)) => true,
            (Some(Piece::Byte(wanted)), Some(found)) => wanted == found,
            (Some(Piece::Set(set)), Some(found)) => set[usize::from(found >> 6)] >> (found & 63) & 1 == 1,
            (None, Some(_)) => false,
            // The text has ended: a `*` that takes more only makes it shorter.
            (Some(_), None) => return false,
        };
        if fits {
            (piece, byte) = (piece + 1, byte + 1);
            continue;
        }
        let Some((behind, taken)) = star else { return false };
        (piece, byte) = (behind, taken + 1);
        star = Some((behind, byte));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Another way to the same answer: by definition, recursively, exponential.
    fn slow(pieces: &[Piece], text: &[u8]) -> bool {
        match (pieces, text) {
            ([], text) => text.is_empty(),
            ([Piece::AnyBytes, rest @ ..], text) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
            ([Piece::AnyByte, rest @ ..], [_, after @ ..]) => slow(rest, after),
            ([Piece::Byte(wanted), rest @ ..], [byte, after @ ..]) => wanted == byte && slow(rest, after),
            ([Piece::Set(set), rest @ ..], [byte, after @ ..]) => {
                set[usize::from(byte / 64)] & (1 << (byte % 64)) != 0 && slow(rest, after)
            }
            (_, []) => false,
        }
    }

    #[test]
    fn every_short_pattern_matches_as_defined() {
        let words = |letters: &[u8], longest: u32| -> Vec<Vec<u8>> {
            let base = letters.len();
            let words = (0..=longest).flat_map(|len| (0..base.pow(len)).map(move |number| (len, number)));
            words.map(|(len, number)| (0..len).map(|at| letters[number / base.pow(at) % base]).collect()).collect()
        };
        let texts = words(b"ab", 5);
        for pattern in words(b"ab*?", 5) {
            let (negated, Pattern::Glob(pieces)) = Pattern::glob(&pattern) else { panic!() };
            assert!(!negated);
            for text in &texts {
                assert_eq!(glob(&pieces, text), slow(&pieces, text), "{pattern:?} {text:?}");
            }
        }
    }
}
