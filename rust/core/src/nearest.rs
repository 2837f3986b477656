//! "Did you mean …?"

/// Names longer than this are not compared: the cost grows with the product of the lengths.
const LONGEST: usize = 128;

/// How many letter pairs two names must share to be called near, of 1.
///
/// Letter pairs and not edits, because names are put together from words: `vcpu_exit` is nearer to `vcpu_run_exit` than
/// to `vcpu_halt`.
const NEAR: f64 = 0.5;

/// The name among `names` that looks most like `wanted`, if one does.
pub(crate) fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    if wanted.len() > LONGEST {
        return None;
    }
    names
        .filter(|name| name.len() <= LONGEST)
        .map(|name| (strsim::sorensen_dice(wanted, name), name))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

/// `; did you mean …?`, or nothing.
pub(crate) fn hint(nearest: Option<&String>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}
