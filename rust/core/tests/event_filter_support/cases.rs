//! The cases of `event_filter_cases.tsv`: an expression, a record, and what Linux, tp-lexer and we say.

use super::{NUMBERS, Row};

/// An answer of one of the three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Matched(bool),
    /// The name and place of our error, or nothing of theirs.
    Refused(Option<(String, usize)>),
    /// Not asked, because the question is about something that it does not have.
    NotAsked,
}

impl Answer {
    fn parse(text: &str) -> Answer {
        match text {
            "yes" => Answer::Matched(true),
            "no" => Answer::Matched(false),
            "refused" => Answer::Refused(None),
            "-" => Answer::NotAsked,
            text => {
                let (problem, position) = text.split_once('@').unwrap_or_else(|| panic!("no answer: {text}"));
                Answer::Refused(Some((problem.to_owned(), position.parse().unwrap())))
            }
        }
    }
}

#[derive(Clone, Debug)]
pub struct Case {
    pub line: usize,
    pub expression: String,
    pub row: Row,
    pub linux: Answer,
    pub tp_lexer: Answer,
    pub ours: Answer,
}

/// The name of the task in which the events happen.
pub const COMM: &str = "python3";

/// The cases, for events in a thread of this id.
pub fn cases(pid: i32) -> Vec<Case> {
    let lines = include_str!("../event_filter_cases.tsv").lines().enumerate();
    let cases: Vec<Case> = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [expression, row, linux, tp_lexer, ours] = columns[..] else { panic!("line {}: {line}", index + 1) };
            Case {
                line: index + 1,
                expression: unescape(expression)
                    .replace("$wrapped", &(i64::from(pid) + (1 << 32)).to_string())
                    .replace("$octal", &format!("0{pid:o}"))
                    .replace("$hex", &format!("{pid:#x}"))
                    .replace("$pid", &pid.to_string()),
                row: parse_row(row),
                linux: Answer::parse(linux),
                tp_lexer: Answer::parse(tp_lexer),
                ours: Answer::parse(ours),
            }
        })
        .collect();
    assert!(!cases.is_empty());
    cases
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("%{") {
        let (code, after) = after.split_once('}').unwrap();
        let (code, times) = code.split_once('x').map_or((code, 1), |(code, times)| (code, times.parse().unwrap()));
        let character = char::from_u32(code.parse().unwrap()).unwrap();
        out.push_str(before);
        out.extend(std::iter::repeat_n(character, times));
        rest = after;
    }
    out + rest
}

fn parse_row(text: &str) -> Row {
    let mut row = Row::default();
    for assignment in text.split_whitespace() {
        let (name, value) = assignment.split_once('=').unwrap();
        if name == "text" {
            row.text = unescape(value).into_bytes();
        } else {
            let index = NUMBERS.iter().position(|(number, _)| *number == name).unwrap();
            row.numbers[index] = value.parse().unwrap();
        }
    }
    row
}
