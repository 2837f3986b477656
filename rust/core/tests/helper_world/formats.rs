//! The cases of `formats.tsv`.

/// An argument of a format.
#[derive(Debug, Clone)]
pub enum Arg {
    Number(u64),
    /// The address of these bytes and a NUL.
    String(Vec<u8>),
}

/// A line of `formats.tsv`.
#[derive(Debug)]
pub struct Case {
    pub line: usize,
    pub format: Vec<u8>,
    pub args: Vec<Arg>,
    pub result: i64,
    pub text: Vec<u8>,
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let lines = include_str!("formats.tsv").lines().enumerate();
    lines.filter(|(_, line)| !line.starts_with('#')).map(|(index, line)| case(index + 1, line)).collect()
}

fn case(number: usize, line: &str) -> Case {
    let mut columns = line.split('\t');
    let mut column = || columns.next().unwrap_or_default();
    let format = unescape(column());
    let args = column().split(", ").filter(|arg| !arg.is_empty()).map(argument).collect();
    Case { line: number, format, args, result: column().parse().unwrap(), text: unescape(column()) }
}

fn argument(text: &str) -> Arg {
    if let Some(string) = text.strip_prefix('"') {
        Arg::String(unescape(string.strip_suffix('"').unwrap()))
    } else if let Some(hex) = text.strip_prefix("0x") {
        Arg::Number(u64::from_str_radix(hex, 16).unwrap())
    } else {
        Arg::Number(text.parse::<i64>().unwrap() as u64)
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'\\' {
            out.push(*first);
            rest = tail;
        } else if let [b'x', a, b, tail @ ..] = tail {
            out.push(u8::from_str_radix(std::str::from_utf8(&[*a, *b]).unwrap(), 16).unwrap());
            rest = tail;
        } else {
            let end = tail.iter().position(|&byte| byte == b'}').unwrap();
            let (byte, times) = std::str::from_utf8(&tail[1..end]).unwrap().rsplit_once('*').unwrap();
            out.extend(unescape(byte).repeat(times.parse().unwrap()));
            rest = &tail[end + 1..];
        }
    }
    out
}
