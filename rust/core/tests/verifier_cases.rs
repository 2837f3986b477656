//! Programs for every rule: our verdict, and the running kernel's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod verifier_support;

use std::collections::BTreeSet;

use axebpf_core::verifier::Rule;
use verifier_support::linux::{Oracle, number_of};
use verifier_support::{cases, facts, ours};

#[test]
fn our_verdicts_are_those_of_linux() {
    let facts = facts();
    let mut wrong = Vec::new();
    for case in cases() {
        let verdict = ours(&case.program(), &facts);
        let name = format!("{}: {}", case.file, case.name);
        match (&verdict, &case.linux, &case.differs) {
            (Ok(_), Ok(()), None) => {}
            (Err(error), Err(_), None) => {
                let rule = case.rule.as_deref().unwrap_or("");
                if error.rule.title() != rule {
                    wrong.push(format!("{name}: rule {rule:?} is expected, broken is:\n{error}"));
                }
            }
            (Ok(_), Err(_), Some(_)) | (Err(_), Ok(()), Some(_)) => {}
            (_, linux, differs) => {
                wrong.push(format!("{name}: Linux {linux:?}, ours (differs: {differs:?}) {verdict:?}"))
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn every_rule_has_a_case_that_breaks_it() {
    let broken: BTreeSet<String> = cases().into_iter().filter_map(|case| case.rule).collect();
    let missing: Vec<&str> =
        Rule::ALL.iter().map(|rule| rule.title()).filter(|title| !broken.contains(*title)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unknown: Vec<&String> =
        broken.iter().filter(|rule| !Rule::ALL.iter().any(|known| known.title() == *rule)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_verdicts_recorded_are_those_of_the_running_kernel() {
    let oracle = match Oracle::open(&facts()) {
        Ok(oracle) => oracle,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let mut wrong = Vec::new();
    let mut asked = 0;
    for case in cases() {
        if number_of(case.program_type).is_none() {
            continue;
        }
        asked += 1;
        let verdict = oracle.verdict(&case.program());
        let same = match (&verdict, &case.linux) {
            (Ok(()), Ok(())) => true,
            (Err(log), Err(words)) => !words.is_empty() && log.contains(words.as_str()),
            _ => false,
        };
        if !same {
            let told = verdict
                .map_or_else(|log| log.lines().rev().take(6).collect::<Vec<_>>().join(" < "), |()| "accept".to_owned());
            wrong.push(format!("{}: {}\t{told}", case.file, case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}\n{}", wrong.len(), wrong.join("\n"));
}
