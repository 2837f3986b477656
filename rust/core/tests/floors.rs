//! The rooms of the core stand on floors, and a room uses only rooms of its own floor or of lower ones.
//!
//! The test reads the sources and follows every path that starts at the crate's root (`crate::X`, a group
//! `crate::{X, Y}`, a `super::super::X` that climbs up to it), in tests and macros too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The floors, lowest first.
const FLOORS: &[&[&str]] = &[
    &["errno", "fault", "isa", "btf", "clock", "memory", "held", "nearest"],
    &["map", "program", "symbol"],
    &["object", "helper"],
    &["verifier"],
    &["engine"],
    &["portability"],
    &["axvisor", "event"],
    &["recording", "kvm"],
    &["bench"],
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

#[derive(Debug, PartialEq, Eq)]
enum Breach {
    Upward { line: usize, from: String, to: String },
    NoFloor { room: String },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upward { line, from, to } => {
                write!(f, "{line}: {from} uses {to}, which stands on a higher floor: one of the two is misplaced")
            }
            Self::NoFloor { room } => write!(f, "1: {room} stands on no floor: add it to FLOORS"),
        }
    }
}

/// A token of a source, without the comments; a literal is an empty word, so that nothing in it counts.
struct Word {
    line: usize,
    text: String,
}

fn flatten(stream: TokenStream, found: &mut Vec<Word>) {
    for token in stream {
        let line = token.span().start().line;
        let text = match &token {
            TokenTree::Ident(name) => name.to_string(),
            TokenTree::Punct(mark) => mark.to_string(),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => "{".to_owned(),
            TokenTree::Group(_) | TokenTree::Literal(_) => String::new(),
        };
        found.push(Word { line, text });
        if let TokenTree::Group(group) = token {
            let line = group.span_close().start().line;
            flatten(group.stream(), found);
            let text = if group.delimiter() == Delimiter::Brace { "}".to_owned() } else { String::new() };
            found.push(Word { line, text });
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Import {
    line: usize,
    room: String,
}

/// Every name that a path from the crate's root begins with. `depth` is the number of modules in the file's own path.
fn imports(source: &str, depth: usize) -> Vec<Import> {
    let mut words = Vec::new();
    flatten(source.parse().expect("the source is Rust"), &mut words);
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    let is_step = |at: usize, name: &str| text(at) == name && text(at + 1) == ":" && text(at + 2) == ":";
    let (mut found, mut at) = (Vec::new(), 0);
    // The brace levels at which an inline module is open: from within it, `super` reaches one module less far.
    let (mut level, mut inline) = (0_usize, Vec::new());
    while at < words.len() {
        match text(at) {
            "{" => {
                level += 1;
                if at >= 2 && text(at - 2) == "mod" {
                    inline.push(level);
                }
            }
            "}" => {
                if inline.last() == Some(&level) {
                    inline.pop();
                }
                level -= 1;
            }
            "crate" if is_step(at, "crate") => {
                names_after(&words[at + 3..], &mut found);
            }
            "super" => {
                let steps = (0..).take_while(|n| is_step(at + 3 * n, "super")).count();
                if steps == depth + inline.len() {
                    names_after(&words[at + 3 * steps..], &mut found);
                }
                at += (3 * steps).max(1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first name of a path, or of each path of a group.
fn names_after(words: &[Word], found: &mut Vec<Import>) {
    let mut push = |word: &Word| found.push(Import { line: word.line, room: word.text.clone() });
    let Some(first) = words.first() else { return };
    if first.text != "{" {
        return push(first);
    }
    let mut depth = 0;
    for pair in words.windows(2) {
        match pair[0].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        match (depth, pair[0].text.as_str()) {
            (0, _) => break,
            (1, "{" | ",") => push(&pair[1]),
            _ => {}
        }
    }
}

/// What a file of `room` does wrong.
fn breaches(room: &str, depth: usize, source: &str) -> Vec<Breach> {
    let Some(own) = floor(room) else { return vec![Breach::NoFloor { room: room.to_owned() }] };
    imports(source, depth)
        .into_iter()
        .filter(|import| floor(&import.room).is_some_and(|other| other > own))
        .map(|Import { line, room: to }| Breach::Upward { line, from: room.to_owned(), to })
        .collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules of a file's path below `src`: `map/hash.rs` is `map`, `hash`; `map/mod.rs` is `map`.
fn module_path(relative: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        relative.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    path.pop_if(|last| last == "mod");
    path
}

#[test]
fn no_room_uses_a_higher_floor() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files.sort();
    assert!(files.len() > 1, "no sources below {}", src.display());
    let mut found = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        if relative == Path::new("lib.rs") {
            continue;
        }
        let module = module_path(relative);
        let here = breaches(&module[0], module.len(), &fs::read_to_string(&file).unwrap());
        found.extend(here.iter().map(|breach| format!("src/{}:{breach}", relative.display())));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Room, depth of the file, source, and the lines that import from a higher floor.
type Case = (&'static str, usize, &'static str, &'static [(usize, &'static str)]);

#[test]
fn an_upward_import_is_found_in_every_form() {
    let cases: &[Case] = &[
        ("map", 1, "use crate::errno::Errno;\nuse crate::helper::Host;", &[(2, "helper")]),
        (
            "isa",
            1,
            "use crate::{\n    errno::{self, Errno},\n    map,\n    object::{elf::{A, B}, C},\n};",
            &[(3, "map"), (4, "object")],
        ),
        ("engine", 2, "fn f() -> crate::bench::Bench { g() }", &[(1, "bench")]),
        ("map", 2, "use super::super::event::Ring;", &[(1, "event")]),
        ("map", 1, "mod tests { use super::super::engine; }", &[(1, "engine")]),
        ("map", 1, "mod tests { fn f() {} }\nuse super::engine;", &[(2, "engine")]),
        ("isa", 1, "macro_rules! m { () => { $crate::verifier::check() } }", &[(1, "verifier")]),
    ];
    for &(room, depth, source, expected) in cases {
        let expected: Vec<_> = expected
            .iter()
            .map(|&(line, to)| Breach::Upward { line, from: room.to_owned(), to: to.to_owned() })
            .collect();
        assert_eq!(breaches(room, depth, source), expected, "{source}");
    }
}

#[test]
fn what_is_not_an_upward_import_is_let_pass() {
    let cases = [
        ("bench", 1, "use crate::{engine, event::Ring, map::Map, Thing};"),
        ("event", 1, "use crate::axvisor::Context;"),
        ("map", 1, "//! See [`crate::bench`].\n/* crate::engine /* crate::bench */ crate::event */"),
        ("map", 1, "const A: &str = \"crate::bench \\\" crate::engine\";"),
        ("map", 2, "use super::bench;"),
        ("map", 1, "mod tests { use super::engine; }"),
        ("map", 1, "pub(super) fn engine() {}\nuse super::*;"),
    ];
    for (room, depth, source) in cases {
        assert_eq!(breaches(room, depth, source), [], "{source}");
    }
}

#[test]
fn a_room_without_a_floor_is_found() {
    assert_eq!(breaches("attic", 1, ""), [Breach::NoFloor { room: "attic".to_owned() }]);
}
