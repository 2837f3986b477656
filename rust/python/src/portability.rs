//! What becomes of a program on each target, and the table of gaps.

use axebpf_core::bench::Portability;
use pyo3::prelude::*;

/// Row of the table of gaps, effect, instruction, what it is about, reason, what to do instead.
type Finding = (Option<&'static str>, &'static str, Option<usize>, String, String, &'static str);

/// Target, verdict, findings.
pub(crate) type Report = (&'static str, &'static str, Vec<Finding>);

pub(crate) fn reports(of: &Portability) -> Vec<Report> {
    let finding = |found: &axebpf_core::portability::Finding| {
        let (what, reason) = (found.what.clone(), found.reason.clone());
        (found.gap, found.effect.name(), found.insn, what, reason, found.instead)
    };
    let report = |(target, verdict, findings): (_, axebpf_core::portability::Verdict, &[_])| {
        (target, verdict.name(), findings.iter().map(finding).collect())
    };
    of.targets().map(report).to_vec()
}

/// See [`gaps`].
type Row = [&'static str; 8];

/// Name, part, effect, what, Linux, AxVisor, instead, version of each known gap; none where this build has no AxVisor.
#[pyfunction]
#[cfg(feature = "axvisor")]
pub(crate) fn gaps() -> Vec<Row> {
    use axebpf_core::axvisor::{GAPS, Gap};
    let row = |gap: &Gap| {
        let (part, effect) = (gap.part.name(), gap.effect.name());
        [gap.name, part, effect, gap.what, gap.linux, gap.axvisor, gap.instead, gap.version]
    };
    GAPS.iter().map(row).collect()
}

/// The same of a build without AxVisor.
#[pyfunction]
#[cfg(not(feature = "axvisor"))]
pub(crate) fn gaps() -> Vec<Row> {
    Vec::new()
}
