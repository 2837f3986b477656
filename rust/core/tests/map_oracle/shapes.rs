//! Which maps may be in a map of maps, on both sides.

use axebpf_core::map::{
    BPF_F_INNER_MAP, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY,
    MapKind, MapSpec, create, create_with,
};

use crate::kernel::{self, KernelMap};
use crate::map_support::spec;
use crate::things::Things;

#[test]
fn shapes() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    // Templates, and what is put beside each of them.
    let base = [
        spec(MapKind::Array, 4, 8, 4, 0),
        spec(MapKind::Array, 4, 8, 4, BPF_F_INNER_MAP),
        spec(MapKind::Hash, 4, 8, 4, 0),
        spec(MapKind::PercpuHash, 4, 8, 4, 0),
        spec(MapKind::PercpuArray, 4, 8, 4, 0),
        spec(MapKind::LruHash, 4, 8, 4, 0),
        spec(MapKind::LruPercpuHash, 4, 8, 4, 0),
        spec(MapKind::Queue, 0, 8, 4, 0),
        spec(MapKind::Stack, 0, 8, 4, 0),
        spec(MapKind::RingBuf, 0, 0, 4096, 0),
        spec(MapKind::PerfEventArray, 4, 4, 4, 0),
        spec(MapKind::ProgArray, 4, 4, 4, 0),
    ];
    let changes: [&dyn Fn(&MapSpec) -> MapSpec; 11] = [
        &MapSpec::clone,
        &|of| MapSpec { max_entries: of.max_entries * 2, ..of.clone() },
        &|of| MapSpec { value_size: of.value_size * 2, ..of.clone() },
        &|of| MapSpec { key_size: of.key_size * 2, ..of.clone() },
        &|of| MapSpec { flags: of.flags ^ BPF_F_NO_PREALLOC, ..of.clone() },
        &|of| MapSpec { flags: of.flags ^ BPF_F_INNER_MAP, ..of.clone() },
        &|of| MapSpec { flags: of.flags ^ BPF_F_NUMA_NODE, ..of.clone() },
        &|of| MapSpec { flags: of.flags ^ BPF_F_RDONLY, ..of.clone() },
        &|of| MapSpec { flags: of.flags ^ BPF_F_WRONLY, ..of.clone() },
        &|of| MapSpec { flags: of.flags ^ BPF_F_RDONLY_PROG, ..of.clone() },
        &|of| MapSpec { flags: of.flags ^ BPF_F_MMAPABLE, ..of.clone() },
    ];
    let mut compared = 0;
    for template in &base {
        let things = Things::with_maps(std::slice::from_ref(template));
        let (ours, theirs) = &things.maps[0];
        for kind in [MapKind::ArrayOfMaps, MapKind::HashOfMaps] {
            let outer = spec(kind, 4, 4, 64, 0);
            let our_outer = create_with(outer.clone(), 1, Some(&**ours)).map_err(|error| error.errno().0);
            let their_outer = KernelMap::create_with(&outer, 1, theirs.fd());
            assert_eq!(our_outer.as_ref().err(), their_outer.as_ref().err(), "{kind:?} of {template:?}");
            let (Ok(our_outer), Ok(their_outer)) = (our_outer, their_outer) else { continue };
            for put in base.iter().flat_map(|of| changes.iter().map(move |change| change(of))) {
                let (Ok(map), Ok(kernel)) = (create(put.clone(), 1), KernelMap::create(&put, 1)) else { continue };
                let things = Things { maps: vec![(map, kernel)], programs: Vec::new() };
                let (key, fd) = ([0; 4], things.maps[0].1.fd());
                let ours = our_outer.update_by_number(&key, &[0; 4], 0, &things).map_err(|refusal| refusal.errno.0);
                assert_eq!(ours, their_outer.update(&key, &fd.to_le_bytes(), 0), "{put:?} in {kind:?} of {template:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}

#[test]
fn a_map_of_maps_cannot_be_an_inner_map() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let things = Things::with_maps(&[spec(MapKind::Array, 4, 8, 4, 0)]);
    let (inner, their_inner) = &things.maps[0];
    for outer in [MapKind::ArrayOfMaps, MapKind::HashOfMaps].map(|kind| spec(kind, 4, 4, 4, 0)) {
        let ours = create_with(outer.clone(), 1, Some(&**inner)).unwrap();
        let theirs = KernelMap::create_with(&outer, 1, their_inner.fd()).unwrap();
        let nested = create_with(outer.clone(), 1, Some(&*ours)).map(drop).map_err(|error| error.errno().0);
        assert_eq!(nested, KernelMap::create_with(&outer, 1, theirs.fd()).map(drop));
        let itself = Things { maps: vec![(ours.clone(), theirs)], programs: Vec::new() };
        let fd = itself.maps[0].1.fd().to_le_bytes();
        let put = ours.update_by_number(&[0; 4], &[0; 4], 0, &itself).map_err(|refusal| refusal.errno.0);
        assert_eq!(put, itself.maps[0].1.update(&[0; 4], &fd, 0));
    }
}
