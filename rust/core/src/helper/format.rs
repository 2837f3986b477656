//! The format language of `bpf_trace_printk`, `bpf_trace_vprintk` and `bpf_snprintf`.
//!
//! | conversion | prints |
//! | --- | --- |
//! | `%d` `%i` `%u` `%x` `%X` | 32 bits of the argument; with `l` or `ll`, all 64 |
//! | `%c` | a byte |
//! | `%s` | the string at the address; nothing where it cannot be read |
//! | `%pks` `%pus` | the same of kernel or user memory only, without width |
//! | `%p` `%pK` | the name of the address (`EXITS[3]+8`, `stack-16`), the same in every run; Linux prints a hash |
//! | `%px` | the address, 16 hexadecimal digits |
//! | `%ps` `%pS` `%pB` | the symbol there; with its offset for the last two |
//! | `%pi4` `%pI4` `%pi6` `%pI6` | the IP address in kernel memory there; zeros where it cannot be read |
//!
//! Between `%` and the conversion may stand flags (`-`, `0`, `+`, space) and a width, no precision. Everything else is
//! `EINVAL`. Asked of Linux 6.18, and asked again by `tests/helper_linux.rs`.

use super::Run;
use super::probe::{self, Space};
use crate::errno::Errno;
use crate::memory::{Bytes, BytesMut};

/// Bytes of Linux's buffer for the arguments of one call: numbers, and strings with their NUL.
const ARGUMENT_BYTES: usize = 512;
/// Largest width; more counts as this.
const MAX_WIDTH: usize = (1 << 23) - 1;
/// Hexadecimal digits of an address.
const ADDRESS_DIGITS: usize = 16;

/// A formatted text.
#[derive(Debug)]
pub(super) struct Formatted {
    /// Its front, as much as was to be kept.
    pub text: Vec<u8>,
    /// Its whole length.
    pub len: u64,
}

/// Formats `args` by the format that `text` holds up to its NUL, and keeps at most `keep` bytes.
///
/// # Errors
/// `EINVAL` for a format without NUL, a character or conversion outside the language, or more conversions than
/// arguments; `ENOSPC` where the strings and numbers need more than Linux's 512 bytes.
pub(super) fn format(run: &mut Run<'_>, text: Bytes<'_>, args: &[u64], keep: usize) -> Result<Formatted, Errno> {
    let end = (0..text.len()).find(|&at| text.get(at) == Some(0)).ok_or(Errno::EINVAL)?;
    let mut cursor = Cursor { text, end, at: 0 };
    let mut out = Output { text: Vec::new(), keep, len: 0 };
    let mut room = Room { used: 0 };
    let mut args = args.iter().copied();
    while let Some(byte) = cursor.next() {
        if byte != b'%' {
            if !is_plain(byte) {
                return Err(Errno::EINVAL);
            }
            out.push(byte);
        } else if cursor.eat(b'%') {
            out.push(b'%');
        } else {
            let field = cursor.field();
            let conversion = cursor.conversion()?;
            let value = args.next().ok_or(Errno::EINVAL)?;
            print(run, &mut out, &mut room, field, conversion, value)?;
        }
    }
    Ok(Formatted { text: out.text, len: out.len })
}

/// What stands between `%` and the conversion.
#[derive(Clone, Copy)]
struct Field {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    width: Option<usize>,
}

#[derive(Clone, Copy)]
enum Conversion {
    Signed { wide: bool },
    Unsigned { wide: bool },
    Hex { wide: bool, upper: bool },
    Char,
    String,
    StringOf(Space),
    Place,
    Address,
    Symbol { offset: bool },
    Backtrace,
    Ip4 { padded: bool },
    Ip6 { colons: bool },
}

/// The format, read byte by byte up to its NUL.
struct Cursor<'a> {
    text: Bytes<'a>,
    end: usize,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        if self.at < self.end { self.text.get(self.at) } else { None }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.peek() == Some(byte);
        self.at += usize::from(eaten);
        eaten
    }

    fn field(&mut self) -> Field {
        let mut field = Field { left: false, zero: false, plus: false, space: false, width: None };
        loop {
            let flag = match self.peek() {
                Some(b'-') => &mut field.left,
                Some(b'0') => &mut field.zero,
                Some(b'+') => &mut field.plus,
                Some(b' ') => &mut field.space,
                _ => break,
            };
            *flag = true;
            self.at += 1;
        }
        let mut digits: Option<i32> = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            // Linux reads an `int` that wraps.
            digits = Some(digits.unwrap_or(0).wrapping_mul(10).wrapping_add(i32::from(digit - b'0')));
            self.at += 1;
        }
        field.width = digits.and_then(|n| usize::try_from(n).ok()).map(|n| n.min(MAX_WIDTH));
        field
    }

    fn conversion(&mut self) -> Result<Conversion, Errno> {
        let conversion = match self.next().ok_or(Errno::EINVAL)? {
            b'p' => return self.pointer(),
            b's' if self.is_at_end_of_word() => Conversion::String,
            b'c' => Conversion::Char,
            b'l' => {
                self.eat(b'l');
                let letter = self.next().ok_or(Errno::EINVAL)?;
                number(letter, true).ok_or(Errno::EINVAL)?
            }
            letter => number(letter, false).ok_or(Errno::EINVAL)?,
        };
        Ok(conversion)
    }

    /// The conversions that begin with `%p`.
    fn pointer(&mut self) -> Result<Conversion, Errno> {
        if self.is_at_end_of_word() {
            return Ok(Conversion::Place);
        }
        let conversion = match self.next() {
            Some(b'k') if self.eat(b's') && self.is_at_end_of_word() => return Ok(Conversion::StringOf(Space::Kernel)),
            Some(b'u') if self.eat(b's') && self.is_at_end_of_word() => return Ok(Conversion::StringOf(Space::User)),
            Some(b'K') => Conversion::Place,
            Some(b'x') => Conversion::Address,
            Some(b's') => Conversion::Symbol { offset: false },
            Some(b'S') => Conversion::Symbol { offset: true },
            Some(b'B') => Conversion::Backtrace,
            Some(letter @ (b'i' | b'I')) => match self.next() {
                Some(b'4') => Conversion::Ip4 { padded: letter == b'i' },
                Some(b'6') => Conversion::Ip6 { colons: letter == b'I' },
                _ => return Err(Errno::EINVAL),
            },
            _ => return Err(Errno::EINVAL),
        };
        // Linux passes over the rest of the word.
        while self.peek().is_some_and(is_alphanumeric) {
            self.at += 1;
        }
        Ok(conversion)
    }

    /// Whether white space, punctuation (of Latin-1) or the end follows.
    fn is_at_end_of_word(&self) -> bool {
        let control = |byte| !is_plain(byte) || matches!(byte, 0x80..=0x9f);
        self.peek().is_none_or(|byte| !control(byte) && !is_alphanumeric(byte))
    }
}

fn number(letter: u8, wide: bool) -> Option<Conversion> {
    match letter {
        b'd' | b'i' => Some(Conversion::Signed { wide }),
        b'u' => Some(Conversion::Unsigned { wide }),
        b'x' | b'X' => Some(Conversion::Hex { wide, upper: letter == b'X' }),
        _ => None,
    }
}

/// Whether a byte may stand in the text of a format: no control character.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 9..=13 | 0x20..=0x7e | 0x80..)
}

/// Letters and digits as Linux counts them, by Latin-1.
fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

/// Linux's buffer of arguments.
struct Room {
    used: usize,
}

impl Room {
    fn left(&self) -> usize {
        ARGUMENT_BYTES.saturating_sub(self.used)
    }

    fn need(&self, bytes: usize) -> Result<(), Errno> {
        if self.left() < bytes { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Errno> {
        self.need(bytes)?;
        self.used += bytes;
        Ok(())
    }

    fn take_number(&mut self, bytes: usize) -> Result<(), Errno> {
        self.used = self.used.next_multiple_of(4);
        self.take(bytes)
    }

    fn take_unsigned(&mut self, value: u64, wide: bool) -> Result<u64, Errno> {
        self.take_number(if wide { 8 } else { 4 })?;
        Ok(if wide { value } else { value & u64::from(u32::MAX) })
    }

    /// Cuts a text so that it fits with a NUL, and takes what it would need in full.
    fn take_text<'t>(&mut self, text: &'t str) -> &'t [u8] {
        let fits = text.len().min(self.left().saturating_sub(1));
        self.used += text.len() + 1;
        &text.as_bytes()[..fits]
    }
}

/// A text of any length, of which the front is kept.
struct Output {
    text: Vec<u8>,
    keep: usize,
    len: u64,
}

impl Output {
    fn push(&mut self, byte: u8) {
        self.repeat(byte, 1);
    }

    fn repeat(&mut self, byte: u8, times: usize) {
        self.len += times as u64;
        let kept = times.min(self.keep - self.text.len());
        self.text.resize(self.text.len() + kept, byte);
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.text.extend_from_slice(&bytes[..bytes.len().min(self.keep - self.text.len())]);
    }

    fn padded(&mut self, field: Field, bytes: &[u8]) {
        let padding = field.width.unwrap_or(0).saturating_sub(bytes.len());
        self.repeat(b' ', if field.left { 0 } else { padding });
        self.extend(bytes);
        self.repeat(b' ', if field.left { padding } else { 0 });
    }

    fn number(&mut self, field: Field, sign: &str, digits: &str) {
        let padding = field.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
        let zeros = field.zero && !field.left;
        self.repeat(b' ', if field.left || zeros { 0 } else { padding });
        self.extend(sign.as_bytes());
        self.repeat(b'0', if zeros { padding } else { 0 });
        self.extend(digits.as_bytes());
        self.repeat(b' ', if field.left { padding } else { 0 });
    }
}

/// Prints one argument.
fn print(
    run: &mut Run<'_>,
    out: &mut Output,
    room: &mut Room,
    field: Field,
    conversion: Conversion,
    value: u64,
) -> Result<(), Errno> {
    match conversion {
        Conversion::Signed { wide } => {
            room.take_number(if wide { 8 } else { 4 })?;
            let value = if wide { value as i64 } else { i64::from(value as i32) };
            let sign = match value {
                ..0 => "-",
                _ if field.plus => "+",
                _ if field.space => " ",
                _ => "",
            };
            out.number(field, sign, &value.unsigned_abs().to_string());
        }
        Conversion::Unsigned { wide } => {
            let value = room.take_unsigned(value, wide)?;
            out.number(field, "", &value.to_string());
        }
        Conversion::Hex { wide, upper } => {
            let value = room.take_unsigned(value, wide)?;
            out.number(field, "", &if upper { format!("{value:X}") } else { format!("{value:x}") });
        }
        Conversion::Char => {
            room.take(1)?;
            out.padded(field, &[value as u8]);
        }
        Conversion::String => string(run, out, room, field, Space::Either, value)?,
        Conversion::StringOf(space) => string(run, out, room, Field { width: None, ..field }, space, value)?,
        Conversion::Place => {
            room.take_number(8)?;
            out.padded(field, run.memory.describe(value).as_bytes());
        }
        Conversion::Address => {
            room.take_number(8)?;
            let all = Field { width: Some(ADDRESS_DIGITS), zero: true, ..field };
            out.number(if field.width.is_some() { field } else { all }, "", &format!("{value:x}"));
        }
        Conversion::Symbol { offset } => {
            room.take_number(8)?;
            let name = symbol(run, value);
            let shown = if offset { name.as_str() } else { name.split('+').next().unwrap_or_default() };
            out.padded(field, shown.as_bytes());
        }
        Conversion::Backtrace => out.extend(room.take_text(&symbol(run, value))),
        Conversion::Ip4 { padded } => {
            let [a, b, c, d] = ip(run, room, value)?;
            let text = if padded { format!("{a:03}.{b:03}.{c:03}.{d:03}") } else { format!("{a}.{b}.{c}.{d}") };
            out.extend(room.take_text(&text));
        }
        Conversion::Ip6 { colons } => {
            let bytes: [u8; 16] = ip(run, room, value)?;
            let groups: Vec<String> = bytes.chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
            out.extend(room.take_text(&groups.join(if colons { ":" } else { "" })));
        }
    }
    Ok(())
}

/// Prints the string at an address, cut to the room that is left.
fn string(
    run: &mut Run<'_>,
    out: &mut Output,
    room: &mut Room,
    field: Field,
    space: Space,
    address: u64,
) -> Result<(), Errno> {
    room.need(1)?;
    let mut buffer = [0; ARGUMENT_BYTES];
    let buffer = &mut buffer[..room.left()];
    let len = probe::read_string(run, space, address, BytesMut::from(&mut *buffer)).unwrap_or(1);
    room.take(len)?;
    out.padded(field, &buffer[..len - 1]);
    Ok(())
}

/// The bytes of an IP address.
fn ip<const N: usize>(run: &mut Run<'_>, room: &Room, address: u64) -> Result<[u8; N], Errno> {
    room.need(N)?;
    let mut bytes = [0; N];
    // Linux prints zeros where nothing can be read, which is what a failed read leaves.
    let _ = probe::read(run, Space::Kernel, address, BytesMut::from(&mut bytes[..]));
    Ok(bytes)
}

/// The symbol at an address with its offset; without one, the name of the address.
fn symbol(run: &Run<'_>, address: u64) -> String {
    run.host.symbol(address).unwrap_or_else(|| run.memory.describe(address))
}
