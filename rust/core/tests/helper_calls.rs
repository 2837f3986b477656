//! Every offered helper: results, errnos, faults. What Linux answers was measured on 6.18 unless a test says otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod helper_world;

use axebpf_core::errno::Errno;
use axebpf_core::fault::Fault;
use axebpf_core::helper::{self, ArgKind};
use axebpf_core::map::{BPF_F_NO_PREALLOC, Keys, MapKind, MapSpec, create};
use helper_world::{GUEST, GUEST_BYTES, USER, World, call, errno, handle};

const RDONLY_PROG: u32 = 1 << 7;

fn hash() -> World {
    World::with_map(MapKind::Hash, 4, 8, 2, 0)
}

fn helper_fault(result: Result<u64, Box<Fault>>) -> String {
    match *result.expect_err("a fault") {
        Fault::Helper { id, what } => format!("{id}: {what}"),
        other => panic!("{other}"),
    }
}

fn memory_fault(result: Result<u64, Box<Fault>>) -> String {
    match *result.expect_err("a fault") {
        Fault::Memory { size, write, place, .. } => format!("{} {size} {place}", if write { "store" } else { "load" }),
        other => panic!("{other}"),
    }
}

#[test]
fn lookup_gives_the_value_and_access_to_it() {
    let world = hash();
    let (key, value) = (world.put(0, &1_u32.to_le_bytes()), world.put(8, &77_u64.to_le_bytes()));
    assert_eq!(world.value(1, &[handle(0), key]), 0, "null while the key is missing");
    assert_eq!(world.value(2, &[handle(0), key, value, 0]), 0);
    world.run(|run| {
        let found = call(run, 1, &[handle(0), key]).unwrap();
        assert_eq!(run.memory.bytes(found, 8).unwrap().to_vec(), 77_u64.to_le_bytes());
        assert!(run.memory.bytes_mut(found, 8).is_ok());
        assert!(run.memory.bytes(found + 1, 8).is_err(), "reaches past the value");
    });
}

#[test]
fn a_read_only_map_is_read_only() {
    let world = World::with_map(MapKind::Hash, 4, 8, 2, RDONLY_PROG);
    let key = world.put(0, &[0; 16]);
    let fault = "write into map forbidden: TEST was created with BPF_F_RDONLY_PROG";
    for (id, args) in [
        (2, vec![handle(0), key, key, 0]),
        (3, vec![handle(0), key]),
        (87, vec![handle(0), key, 0]),
        (88, vec![handle(0), key]),
    ] {
        assert_eq!(helper_fault(world.call(id, &args)), format!("{id}: {fault}"));
    }
}

#[test]
fn update_and_delete_return_the_errno_of_the_map() {
    let world = hash();
    let key = |n: u32| world.put(8 * u64::from(n), &n.to_le_bytes());
    let update = |n: u32, flags: u64| world.value(2, &[handle(0), key(n), world.at(64), flags]);
    assert_eq!(update(1, 2), errno(Errno::ENOENT));
    assert_eq!(update(1, 1), 0);
    assert_eq!(update(1, 1), errno(Errno::EEXIST));
    assert_eq!(update(1, 77), errno(Errno::EINVAL));
    assert_eq!(update(2, 0), 0);
    assert_eq!(update(3, 0), errno(Errno::E2BIG));
    assert_eq!(world.value(3, &[handle(0), key(3)]), errno(Errno::ENOENT));
    assert_eq!(world.value(3, &[handle(0), key(2)]), 0);
    assert_eq!(update(3, 0), 0);
}

#[test]
fn keys_values_and_maps_are_checked() {
    let world = hash();
    let end = world.at(8190);
    assert_eq!(memory_fault(world.call(1, &[handle(0), 16])), "load 4 0x10");
    assert_eq!(memory_fault(world.call(3, &[handle(0), end])), "load 4 ctx+8190");
    assert_eq!(memory_fault(world.call(2, &[handle(0), world.at(0), end, 0])), "load 8 ctx+8190");
    let fault = helper_fault(world.call(1, &[handle(1), world.at(0)]));
    assert!(fault.contains("which is no map of this program"), "{fault}");
    for id in [2, 3, 87, 88, 89, 130, 131, 134, 164, 195] {
        assert!(helper_fault(world.call(id, &[handle(0) + 1])).starts_with(&format!("{id}: ")));
    }
}

#[test]
fn queue_helpers() {
    let world = World::with_map(MapKind::Queue, 0, 8, 1, 0);
    let (value, out) = (world.put(0, &5_u64.to_le_bytes()), world.put(8, &[0xaa; 8]));
    assert_eq!(world.value(88, &[handle(0), out]), errno(Errno::ENOENT));
    assert_eq!(world.get(8, 8), [0; 8], "a pop from an empty queue zeroes the buffer");
    assert_eq!(world.value(87, &[handle(0), value, 0]), 0);
    assert_eq!(world.value(87, &[handle(0), value, 0]), errno(Errno::E2BIG));
    assert_eq!(world.value(89, &[handle(0), out]), 0);
    assert_eq!(world.value(88, &[handle(0), out]), 0);
    assert_eq!(world.get(8, 8), 5_u64.to_le_bytes());
    assert_eq!(world.value(89, &[handle(0), out]), errno(Errno::ENOENT));
}

/// Which those are is asked of Linux in `map_oracle`.
#[test]
fn a_helper_stops_with_a_map_that_it_is_not_for() {
    let mut stopped = 0;
    for kind in MapKind::offered().filter(|kind| !kind.is_of_maps()) {
        let rules = kind.rules().unwrap();
        let (key_size, value_size, entries, flags) = match (kind, rules.keys) {
            (MapKind::RingBuf, _) => (0, 0, 4096, 0),
            (_, Keys::None) => (0, 8, 4, 0),
            (_, Keys::Prefix) => (8, 8, 4, BPF_F_NO_PREALLOC),
            (_, Keys::Index | Keys::Bytes) => (4, if rules.by_number { 4 } else { 8 }, 4, 0),
        };
        for row in helper::all().iter().filter(|row| row.id != helper::TAIL_CALL) {
            let Some(offered) = row.implementation.as_ref().filter(|row| row.map_use.is_some()) else { continue };
            if offered.takes(kind) {
                continue;
            }
            let (name, max_entries) = ("TEST".to_owned(), entries);
            let spec = MapSpec { name, kind, key_size, value_size, max_entries, flags, extra: 0 };
            let mut world = World::new();
            world.maps.0.push(create(spec, 1).unwrap());
            let args: Vec<u64> = offered
                .args
                .iter()
                .map(|of| match of {
                    ArgKind::MapPtr => handle(0),
                    ArgKind::Size | ArgKind::SizeOrZero | ArgKind::AllocSize => 8,
                    ArgKind::Anything | ArgKind::Callback | ArgKind::StackOrNull => 0,
                    _ => world.at(0),
                })
                .collect();
            let fault = helper_fault(world.call(row.id, &args));
            let start = format!("{}: cannot pass map_type {} into func {}#{}: ", row.id, kind as u32, row.name, row.id);
            let end = format!("TEST is a {} map, and it takes a ", kind.name());
            assert!(fault.starts_with(&(start + &end)), "{fault}");
            stopped += 1;
        }
    }
    assert!(stopped > 100, "{stopped}");
}

#[test]
fn lookup_percpu_reads_the_value_of_any_cpu() {
    let world = World::with_map(MapKind::PercpuHash, 4, 8, 2, 0);
    let (key, value) = (world.put(0, &1_u32.to_le_bytes()), world.put(8, &9_u64.to_le_bytes()));
    assert_eq!(world.value(2, &[handle(0), key, value, 0]), 0);
    let at = |cpu: u64| {
        world.run(|run| match call(run, 195, &[handle(0), key, cpu]).unwrap() {
            0 => None,
            address => Some(run.memory.bytes(address, 8).unwrap().to_vec()),
        })
    };
    assert_eq!(at(1), Some(9_u64.to_le_bytes().to_vec()), "the CPU that the program runs on");
    assert_eq!(at(3), Some(vec![0; 8]));
    assert_eq!(at(4), None, "the bench has four CPUs");
    assert_eq!(at(1 << 32 | 1), at(1), "the parameter has 32 bits");
}

#[test]
fn ring_output() {
    let world = World::with_map(MapKind::RingBuf, 0, 16, 1, 0);
    let output = |size: u64, flags: u64| world.value(130, &[handle(0), world.at(0), size, flags]);
    assert_eq!(output(16, 4), errno(Errno::EINVAL));
    assert_eq!(output(16, 3), 0);
    assert_eq!(output(0, 0), 0);
    assert_eq!(memory_fault(world.call(130, &[handle(0), 8, 16, 0])), "load 16 0x8");
    world.run(|run| {
        assert_ne!(call(run, 131, &[handle(0), 16, 0]).unwrap(), 0);
        assert_eq!(call(run, 130, &[handle(0), world.at(0), 16, 0]).unwrap() as i64, errno(Errno::EAGAIN), "no room");
    });
}

#[test]
fn a_record_is_live_from_reserve_to_submit() {
    for id in [132, 133] {
        let world = World::with_map(MapKind::RingBuf, 0, 16, 1, 0);
        world.run(|run| {
            assert_eq!(call(run, 131, &[handle(0), 16, 1]).unwrap(), 0, "flags must be 0");
            assert_eq!(call(run, 131, &[handle(0), 17, 0]).unwrap(), 0, "no room ever");
            let record = call(run, 131, &[handle(0), 16, 0]).unwrap();
            assert!(run.memory.bytes_mut(record + 8, 8).is_ok());
            assert!(run.memory.bytes_mut(record + 9, 8).is_err());
            assert_eq!(call(run, 131, &[handle(0), 16, 0]).unwrap(), 0, "no room now");
            assert_eq!(call(run, id, &[record, 0]).unwrap(), 0);
            assert!(run.memory.bytes_mut(record, 8).is_err(), "given up");
            assert!(run.memory.bytes(record, 1).is_err(), "given up");
            let twice = helper_fault(call(run, id, &[record, 0]));
            assert!(twice.starts_with(&format!("{id}: TEST[0]+0 is no reserved record")), "{twice}");
        });
        let null = helper_fault(world.call(id, &[0, 0]));
        assert!(null.contains("found no room, which the program must test"), "{null}");
    }
}

#[test]
fn a_record_is_for_the_run_that_reserved_it() {
    let mut world = World::new();
    let spec = MapSpec {
        name: "RING".into(),
        kind: MapKind::RingBuf,
        key_size: 0,
        value_size: 0,
        max_entries: 4096,
        flags: 0,
        extra: 0,
    };
    world.maps.0.push(create(spec, 4).unwrap());
    world.run(|run| {
        let records = [16, 0, 24].map(|size| call(run, 131, &[handle(0), size, 0]).unwrap());
        // Another program runs meanwhile, which has been told where the records are.
        for record in records {
            assert!(memory_fault(world.call(130, &[handle(0), record, 8, 0])).starts_with("load 8 RING["));
            for id in [132, 133] {
                let told = helper_fault(world.call(id, &[record, 0]));
                assert!(told.contains("by the program that reserved it"), "{told}");
            }
        }
        for (record, len) in records.into_iter().zip([16, 0, 24]) {
            let reach = [record - 1, record, record + len / 2, record + len].map(|at| run.memory.bytes(at, 1).is_ok());
            assert_eq!(reach, [false, len > 0, len > 0, false]);
        }
        assert!(run.memory.bytes_mut(records[0], 16).is_ok() && run.memory.bytes_mut(records[0] + 8, 16).is_err());
        for record in [records[1], records[2], records[0]] {
            assert!(run.owes());
            assert_eq!(call(run, 132, &[record, 0]).unwrap(), 0);
            assert!(run.memory.bytes(record, 1).is_err());
        }
        assert!(!run.owes());
    });
}

#[test]
fn ring_query() {
    let world = World::with_map(MapKind::RingBuf, 0, 16, 1, 0);
    assert_eq!(world.value(134, &[handle(0), 3]), 300);
}

#[test]
fn the_host_answers_who_where_and_when() {
    let world = World::new();
    assert_eq!(world.value(5, &[]), 5_123_456_789);
    assert_eq!(world.value(125, &[]), 5_123_456_789);
    assert_eq!(world.value(208, &[]), 5_123_456_789);
    assert_eq!(world.value(118, &[]), 5123);
    assert_eq!(world.value(7, &[]), 0xdead_beef);
    assert_eq!(world.value(8, &[]), 1);
    assert_eq!(world.value(14, &[]), 5 << 32 | 7);
    assert_eq!(world.value(15, &[]), 100 << 32 | 1000);
    assert_eq!(world.value(42, &[]), 0);
    assert_eq!(world.value(174, &[world.at(0)]), 0xc00c1e);
    assert_eq!(world.value(100, &[u64::MAX; 5]), 42);
    assert_eq!(world.value(101, &[u64::MAX; 5]), 7);
    assert_eq!(world.value(102, &[u64::MAX; 5]), 0x1_0000_1234);
}

#[test]
fn current_task_is_a_kernel_address_with_no_memory() {
    let world = World::new();
    let task = world.call(35, &[]).unwrap();
    assert!(task >= 0xffff_8000_0000_0000);
    assert_eq!(world.call(35, &[]).unwrap(), task);
    assert_eq!(world.value(113, &[world.at(0), 8, task]), errno(Errno::EFAULT));
}

#[test]
fn current_comm_is_cut_and_padded() {
    let world = World::new();
    let comm = |size: u64| {
        world.put(0, &[0xaa; 24]);
        assert_eq!(world.value(16, &[world.at(0), size]), 0);
        world.get(0, 24)
    };
    assert_eq!(comm(1)[..2], *b"\0\xaa");
    assert_eq!(comm(4)[..5], *b"six\0\xaa");
    assert_eq!(comm(16)[..17], *b"sixteen-bytes-x\0\xaa");
    assert_eq!(comm(20)[..21], *b"sixteen-bytes-xy\0\0\0\0\xaa");
    assert_eq!(comm(0)[..1], *b"\xaa");
    assert_eq!(memory_fault(world.call(16, &[world.at(8190), 16])), "store 16 ctx+8190");
}

/// Address, then what ids 4, 112 and 113 return for 8 bytes; their string forms return the same.
const PROBE: [(u64, [Errno; 3]); 12] = [
    (0, [Errno::EFAULT, Errno::EFAULT, Errno::ERANGE]),
    (0x10000, [Errno::EFAULT, Errno::EFAULT, Errno::ERANGE]),
    (0x7fff_ffff_efff, [Errno::EFAULT, Errno::EFAULT, Errno::ERANGE]),
    (0x7fff_ffff_f000, [Errno::ERANGE, Errno::EFAULT, Errno::ERANGE]),
    (0x8000_0000_0000, [Errno::ERANGE, Errno::EFAULT, Errno::ERANGE]),
    (0x000d_ead0_0000_0000, [Errno::ERANGE, Errno::EFAULT, Errno::ERANGE]),
    (0xdead_0000_0000_0000, [Errno::ERANGE, Errno::EFAULT, Errno::ERANGE]),
    (0xffff_7fff_ffff_ffff, [Errno::ERANGE, Errno::EFAULT, Errno::ERANGE]),
    (0xffff_8000_0000_0000, [Errno::EFAULT, Errno::EFAULT, Errno::EFAULT]),
    (0xffff_ffff_ff60_0000, [Errno::ERANGE, Errno::EFAULT, Errno::ERANGE]),
    (0xffff_ffff_ffff_f000, [Errno::EFAULT, Errno::EFAULT, Errno::EFAULT]),
    (0xffff_ffff_ffff_fffc, [Errno::EFAULT, Errno::EFAULT, Errno::EFAULT]),
];

#[test]
fn a_failed_probe_zeroes_its_destination_and_says_why() {
    let world = World::new();
    for (address, expected) in PROBE {
        for (ids, expected) in [[4, 45], [112, 114], [113, 115]].into_iter().zip(expected) {
            for id in ids {
                world.put(0, &[0xaa; 9]);
                assert_eq!(world.value(id, &[world.at(0), 8, address]), errno(expected), "{id} {address:#x}");
                assert_eq!(world.get(0, 9), *b"\0\0\0\0\0\0\0\0\xaa", "{id} {address:#x}");
            }
        }
    }
}

#[test]
fn probing_no_bytes() {
    let world = World::new();
    let of = |id: u32, address: u64| world.value(id, &[world.at(0), 0, address]);
    let addresses = [0, 0x10000, 0x8000_0000_0000, 0xffff_8000_0000_0000];
    assert_eq!(addresses.map(|a| of(4, a)), [0, 0, -34, 0]);
    assert_eq!(addresses.map(|a| of(112, a)), [0, 0, -14, -14]);
    assert_eq!(addresses.map(|a| of(113, a)), [-34, -34, -34, 0]);
    for id in [45, 114, 115] {
        assert_eq!(addresses.map(|a| of(id, a)), [0; 4]);
    }
    assert_eq!(of(113, world.at(0)), 0);
}

#[test]
fn probes_read_the_memory_of_the_run_as_kernel_memory() {
    let world = World::new();
    world.put(512, b"0123456789abcdef");
    for id in [4, 113] {
        world.put(0, &[0; 16]);
        assert_eq!(world.value(id, &[world.at(0), 16, world.at(512)]), 0);
        assert_eq!(world.get(0, 16), b"0123456789abcdef");
    }
    assert_eq!(world.value(112, &[world.at(0), 16, world.at(512)]), errno(Errno::EFAULT), "not user memory");
    assert_eq!(world.value(113, &[world.at(0), 16, world.at(8190)]), errno(Errno::ERANGE), "reaches past the end");
    assert_eq!(memory_fault(world.call(113, &[8, 16, world.at(0)])), "store 16 0x8");
}

#[test]
fn probes_read_what_the_bench_offers() {
    let world = World::new();
    let len = GUEST_BYTES.len() as u64;
    assert_eq!(world.value(113, &[world.at(0), len, GUEST]), 0);
    assert_eq!(world.get(0, GUEST_BYTES.len()), GUEST_BYTES);
    assert_eq!(world.value(113, &[world.at(0), len + 1, GUEST]), errno(Errno::EFAULT));
    assert_eq!(world.get(0, GUEST_BYTES.len()), vec![0; GUEST_BYTES.len()]);
    assert_eq!(world.value(112, &[world.at(0), 4, USER]), 0);
    assert_eq!(world.get(0, 4), b"user");
}

#[test]
fn probed_strings_end_with_a_nul() {
    let world = World::new();
    let read = |id: u32, size: u64, from: u64| {
        world.put(0, &[0xaa; 32]);
        (world.value(id, &[world.at(0), size, from]), world.get(0, 32))
    };
    let source = world.put(512, b"hello\0");
    for id in [45, 115] {
        for (size, len, text) in [
            (0, 0, &b"\xaa"[..]),
            (1, 1, b"\0\xaa"),
            (2, 2, b"h\0\xaa"),
            (5, 5, b"hell\0\xaa"),
            (6, 6, b"hello\0\xaa"),
            (12, 6, b"hello\0\xaa\xaa\xaa"),
        ] {
            let (r0, bytes) = read(id, size, source);
            assert_eq!((r0, &bytes[..text.len()]), (len, text), "{id} {size}");
        }
        assert_eq!(read(id, 32, GUEST).0, 13);
    }
    assert_eq!(read(115, 6, GUEST + 13), (6, [&b"behin\0"[..], &[0xaa; 26]].concat()), "as long as its memory");
    assert_eq!(read(115, 7, GUEST + 13).0, errno(Errno::EFAULT), "no NUL before the end of its memory");
    assert_eq!(read(114, 32, USER).0, 12);
    assert_eq!(read(114, 32, source).0, errno(Errno::EFAULT));
}

#[test]
fn a_long_string_is_read_across_chunks() {
    let world = World::new();
    let text = [vec![b'x'; 200], vec![0]].concat();
    let source = world.put(1000, &text);
    for size in [63, 64, 65, 128, 129, 200, 201, 300] {
        let r0 = world.value(115, &[world.at(0), size, source]);
        assert_eq!(r0, size.min(201) as i64);
        let expected = [vec![b'x'; r0 as usize - 1], vec![0]].concat();
        assert_eq!(world.get(0, r0 as usize), expected);
    }
}

#[test]
fn strncmp() {
    let world = World::new();
    let compare = |a: &[u8], size: u64, b: &[u8]| {
        let b = [b, b"\0"].concat();
        world.value(182, &[world.put(0, &[a, &[0; 8]].concat()), size, world.put(64, &b)])
    };
    assert_eq!(compare(b"abc\0", 4, b"abc"), 0);
    assert_eq!(compare(b"abc", 3, b"abcd"), 0);
    assert_eq!(compare(b"abd", 3, b"abc"), 1);
    assert_eq!(compare(b"aba", 3, b"abc"), -1);
    assert_eq!(compare(b"a\0x", 3, b"a"), 0);
    assert_eq!(compare(b"\xff", 1, b"a"), 1);
    assert_eq!(compare(b"abcd", 4, b"abc"), 1);
    assert_eq!(compare(b"abc\0", 4, b"abcd"), -1);
    let end = world.put(8190, b"ab") - world.at(0);
    let fault = helper_fault(world.call(182, &[world.put(0, b"abc"), 3, world.at(end)]));
    assert_eq!(fault, "182: its third argument, ctx+8190, is no string that ends with a NUL");
    assert_eq!(memory_fault(world.call(182, &[8, 3, world.at(0)])), "load 3 0x8");
}

#[test]
fn loops() {
    let mut world = World::new();
    assert_eq!(world.value(181, &[10, 0, 0, 1]), errno(Errno::EINVAL));
    assert_eq!(world.value(181, &[(1 << 23) + 1, 0, 0, 0]), errno(Errno::E2BIG));
    assert_eq!(world.value(181, &[u64::MAX, 0, 0, 1]), errno(Errno::EINVAL), "flags are looked at first");
    assert_eq!(world.value(181, &[10, 0, 0, 0]), 10);
    assert_eq!(world.value(181, &[0, 0, 0, 0]), 0);
    assert_eq!(world.value(181, &[1 << 32 | 3, 0, 0, 0]), 3, "the parameter has 32 bits");
    assert_eq!(world.value(181, &[1 << 23, 0, 0, 0]), 1 << 23);
    world.callback = Box::new(|_, [index, ctx, ..]| Ok(u64::from(index == ctx)));
    assert_eq!(world.value(181, &[10, 0, 4, 0]), 5);
    world.callback = Box::new(|_, _| Err(Box::new(Fault::CallDepth { depth: 9 })));
    assert_eq!(*world.call(181, &[10, 0, 0, 0]).unwrap_err(), Fault::CallDepth { depth: 9 });
    assert_eq!(world.value(181, &[0, 0, 0, 0]), 0);
}

#[test]
fn for_each_map_elem_visits_entries() {
    let mut world = hash();
    let flags = [handle(0), 0, 0, 1];
    assert_eq!(world.value(164, &flags), errno(Errno::EINVAL));
    assert_eq!(world.value(164, &[handle(0), 0, 0, 0]), 0);
    for n in [1_u32, 2] {
        let (key, value) = (world.put(0, &n.to_le_bytes()), world.put(8, &u64::from(n * 10).to_le_bytes()));
        assert_eq!(world.value(2, &[handle(0), key, value, 0]), 0);
    }
    world.callback = Box::new(|run, [map, key, value, ctx, _]| {
        assert_eq!(map, handle(0));
        assert!(run.memory.bytes_mut(key, 1).is_err(), "a key is read-only");
        assert!(run.memory.bytes(key + 4, 1).is_err(), "a key ends");
        let n = run.memory.bytes(key, 4)?.as_u32().unwrap();
        assert_eq!(run.memory.bytes(value, 8)?.to_vec(), u64::from(n * 10).to_le_bytes());
        run.memory.bytes_mut(ctx, 4)?.fill_from(&n.to_le_bytes());
        assert_ne!(call(run, 1, &[handle(0), key])?, 0, "the key is one for other helpers");
        Ok(u64::from(n == 1))
    });
    assert_eq!(world.value(164, &[handle(0), 0, world.at(64), 0]), 1, "stopped at the first");
    assert_eq!(world.get(64, 4), 1_u32.to_le_bytes());
    world.callback = Box::new(|_, _| Ok(0));
    assert_eq!(world.value(164, &[handle(0), 0, 0, 0]), 2);
    world.callback = Box::new(|_, _| Err(Box::new(Fault::Budget { limit: 7 })));
    assert_eq!(*world.call(164, &[handle(0), 0, 0, 0]).unwrap_err(), Fault::Budget { limit: 7 });
}

#[test]
fn a_key_is_not_readable_after_its_visit() {
    let mut world = hash();
    world.value(2, &[handle(0), world.at(0), world.at(8), 0]);
    world.callback = Box::new(|run, [_, key, _, ctx, _]| {
        run.memory.bytes(key, 4)?;
        run.memory.bytes_mut(ctx, 8)?.fill_from(&key.to_le_bytes());
        Ok(0)
    });
    world.run(|run| {
        assert_eq!(call(run, 164, &[handle(0), 0, world.at(64), 0]).unwrap(), 1);
        let key = u64::from_le_bytes(world.get(64, 8).try_into().unwrap());
        assert!(run.memory.bytes(key, 4).is_err());
        assert_eq!(run.memory.readable(key, 4), 0);
    });
}
