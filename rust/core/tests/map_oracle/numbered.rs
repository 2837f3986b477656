//! Maps of maps and program arrays against the kernel's: which maps may be in them, and random operations of bpf(2) with
//! things of which each side has its own.

use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{
    BPF_F_INNER_MAP, BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY,
    Map, MapKind, MapSpec, Objects, create, create_with,
};
use axebpf_core::program::ProgramType;

use crate::kernel::{self, KernelMap, Program, RAW_TRACEPOINT, XDP};
use crate::map_support::{Random, spec};

/// A number, and a descriptor, that nothing has.
const NOTHING: (u32, i32) = (1000, 9999);

fn errno<T>(result: Result<T, Errno>) -> Result<T, i32> {
    result.map_err(|errno| errno.0)
}

/// Maps and programs that both sides have: ours by their place, theirs by descriptor.
#[derive(Default)]
struct Things {
    maps: Vec<(Arc<dyn Map>, KernelMap)>,
    programs: Vec<(ProgramType, Program)>,
}

impl Objects for Things {
    fn map(&self, number: u32) -> Result<Arc<dyn Map>, Errno> {
        self.maps.get(number as usize).map(|(map, _)| map.clone()).ok_or(Errno::EBADF)
    }

    fn program(&self, number: u32) -> Result<(Option<ProgramType>, String), Errno> {
        self.programs.get(number as usize).map(|(of, _)| (Some(*of), String::new())).ok_or(Errno::EBADF)
    }
}

impl Things {
    fn with_maps(specs: &[MapSpec]) -> Things {
        let both = |spec: &MapSpec| (create(spec.clone(), 1).unwrap(), KernelMap::create(spec, 1).unwrap());
        Things { maps: specs.iter().map(both).collect(), programs: Vec::new() }
    }

    fn with_programs() -> Things {
        let exit = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
        let of = |ours, theirs| (ours, Program::load_as(theirs, &exit).unwrap());
        let raw = (ProgramType::RawTracepoint, RAW_TRACEPOINT);
        let programs = [raw, raw, (ProgramType::Xdp, XDP)].map(|(ours, theirs)| of(ours, theirs));
        Things { maps: Vec::new(), programs: programs.into() }
    }

    /// A number and the descriptor of the same thing; now and then of nothing.
    fn pick(&self, random: &mut Random) -> (u32, i32) {
        let count = self.maps.len() + self.programs.len();
        let place = random.below(count as u64 + 1) as usize;
        match (self.maps.get(place), self.programs.get(place)) {
            (Some((_, map)), _) => (place as u32, map.fd()),
            (_, Some((_, program))) => (place as u32, program.fd()),
            _ => NOTHING,
        }
    }

    /// The place of the thing whose id the kernel gave.
    fn place_of(&self, id: &[u8]) -> Vec<u8> {
        let id = u32::from_le_bytes(id.try_into().unwrap());
        let maps = self.maps.iter().map(|(_, map)| map.fd());
        let mut fds = maps.chain(self.programs.iter().map(|(_, program)| program.fd()));
        let place = fds.position(|fd| kernel::id_of(fd) == id).expect("one that was put there");
        (place as u32).to_le_bytes().to_vec()
    }
}

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

/// One operation on both sides.
fn step(random: &mut Random, things: &Things, ours: &dyn Map, theirs: &KernelMap) {
    let (kind, readable) = (ours.spec().kind, kernel_reads(ours));
    let key = (random.below(8) as u32).to_le_bytes();
    let flags = random.pick(&[0, 0, 0, 0, 0, 1, 2, 3, 4, 8]);
    let read_flags = random.pick(&[0, 0, 0, 0, 1, 4]);
    let out = |call: &dyn Fn(&mut Vec<u8>) -> Result<(), Errno>| {
        let mut out = Vec::new();
        errno(call(&mut out)).map(|()| out)
    };
    match random.below(100) {
        0..45 => {
            let (number, fd) = things.pick(random);
            let put = ours.update_by_number(&key, &number.to_le_bytes(), flags, things);
            let put = put.map_err(|refusal| refusal.errno.0);
            assert_eq!(put, theirs.update(&key, &fd.to_le_bytes(), flags), "{number} at {key:?}, {flags}, {kind:?}");
        }
        45..70 => {
            let found = theirs.lookup(&key, read_flags).map(|id| things.place_of(&id));
            assert_eq!(out(&|out| ours.lookup_user(&key, read_flags, out)), found, "{key:?}, {read_flags}, {kind:?}");
        }
        70..85 => assert_eq!(errno(ours.delete_user(&key)), theirs.delete(&key), "delete {key:?} of {kind:?}"),
        85..90 => {
            let taken = out(&|out| ours.lookup_and_delete_user(&key, read_flags, out));
            assert_eq!(taken, theirs.lookup_and_delete(&key, read_flags), "take {key:?}, {read_flags}, {kind:?}");
        }
        90..99 if kind != MapKind::HashOfMaps => {
            let key = Some(&key[..]).filter(|_| random.below(3) > 0);
            assert_eq!(out(&|out| ours.next_key_user(key, out)), theirs.next_key(key), "next of {key:?} of {kind:?}");
        }
        _ if readable && kind != MapKind::PerfEventArray => {
            let (mut keys, mut numbers) = (Vec::new(), Vec::new());
            assert_eq!(ours.dump_user(&mut keys, &mut numbers), Ok(ours.len()));
            for (key, number) in keys.chunks(4).zip(numbers.chunks(4)) {
                assert_eq!(theirs.lookup(key, 0).map(|id| things.place_of(&id)).as_deref(), Ok(number));
            }
        }
        _ => {}
    }
}

fn kernel_reads(map: &dyn Map) -> bool {
    map.spec().flags & BPF_F_WRONLY == 0
}

fn compare(things: &Things, specs: &[MapSpec], inner: Option<(&dyn Map, i32)>) {
    kernel::pin();
    for (n, spec) in specs.iter().enumerate() {
        for extra in [0, BPF_F_RDONLY, BPF_F_WRONLY] {
            let spec = MapSpec { flags: spec.flags | extra, ..spec.clone() };
            let ours = create_with(spec.clone(), 1, inner.map(|(ours, _)| ours)).unwrap();
            let theirs = KernelMap::create_with(&spec, 1, inner.map_or(0, |(_, theirs)| theirs)).unwrap();
            let mut random = Random(n as u64);
            for n in 0..1500 {
                if n == 1200 {
                    assert_eq!(errno(ours.freeze()), theirs.freeze());
                }
                step(&mut random, things, &*ours, &theirs);
            }
        }
    }
}

#[test]
fn operations_on_maps_of_maps() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let shape = spec(MapKind::Array, 4, 8, 4, 0);
    let other = spec(MapKind::Array, 4, 16, 4, 0);
    let things = Things::with_maps(&[shape.clone(), shape.clone(), other, shape]);
    let (ours, theirs) = &things.maps[0];
    let specs = [
        spec(MapKind::ArrayOfMaps, 4, 4, 5, 0),
        spec(MapKind::HashOfMaps, 4, 4, 5, 0),
        spec(MapKind::HashOfMaps, 4, 4, 5, BPF_F_NO_PREALLOC),
    ];
    compare(&things, &specs, Some((&**ours, theirs.fd())));
}

#[test]
fn operations_on_program_arrays() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    // Of several seeds, so that the first program is of either type.
    let things = Things::with_programs();
    compare(&things, &[4, 5, 6, 7].map(|entries| spec(MapKind::ProgArray, 4, 4, entries, 0)), None);
}

#[test]
fn operations_on_perf_event_arrays_without_events() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let things = Things::default();
    compare(&things, &[spec(MapKind::PerfEventArray, 4, 4, 5, 0)], None);
}
