//! Every set of creation flags that a kind takes.

use axebpf_core::map::{BPF_F_RDONLY, BPF_F_WRONLY, Map, MapSpec, create_with};

/// A spec with each set of flags beside its own that a map of it can be made with; `inner` is the map that those in a
/// map of maps are like.
pub fn with_all_flags(spec: &MapSpec, inner: Option<&dyn Map>) -> Vec<MapSpec> {
    let allowed = spec.kind.rules().expect("a kind that is offered").flags & !spec.flags;
    let mut sets = vec![spec.flags];
    for flag in (0..32).map(|bit| 1 << bit).filter(|flag| allowed & flag != 0) {
        sets.extend_from_within(..);
        let new = sets.len() / 2;
        sets[new..].iter_mut().for_each(|set| *set |= flag);
    }
    // Which sets go together is compared where maps are created.
    let with = |flags: &u32| MapSpec { flags: *flags, ..spec.clone() };
    sets.iter().map(with).filter(|spec| create_with(spec.clone(), 1, inner).is_ok()).collect()
}

/// Gives every map its share of the operations of a test: those that refuse half of them get less.
pub fn shares(maps: &[MapSpec], operations: usize) -> Vec<usize> {
    let weight = |spec: &MapSpec| if spec.flags & (BPF_F_RDONLY | BPF_F_WRONLY) == 0 { 4 } else { 1 };
    let all: usize = maps.iter().map(weight).sum();
    maps.iter().map(|spec| (operations * weight(spec)).div_ceil(all)).collect()
}
