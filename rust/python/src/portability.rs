//! What becomes of a program on each target, and the table of gaps.

use axebpf_core::bench::Target;
use axebpf_core::portability::Verdict;
use pyo3::prelude::*;

/// Row of the table of gaps, effect, instruction, what it is about, reason, what to do instead.
type Finding = (Option<&'static str>, &'static str, Option<usize>, String, String, &'static str);

/// Verdict, findings.
pub(crate) type Report = (&'static str, Vec<Finding>);

pub(crate) fn report(findings: Vec<axebpf_core::portability::Finding>) -> Report {
    let verdict = Verdict::of(&findings).name();
    let finding = |found: axebpf_core::portability::Finding| {
        (found.gap, found.effect.name(), found.insn, found.what, found.reason, found.instead)
    };
    (verdict, findings.into_iter().map(finding).collect())
}

/// The target of a name.
pub(crate) fn target(py: Python<'_>, name: &str) -> PyResult<Target> {
    crate::bench::choice(py, "target", name, &[("linux", Target::Linux), ("axvisor", Target::Axvisor)])
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
