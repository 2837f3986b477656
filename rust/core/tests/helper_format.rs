//! `bpf_trace_printk`, `bpf_trace_vprintk`, `bpf_snprintf`: text, length and errnos.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod helper_world;

use axebpf_core::errno::Errno;
use axebpf_core::fault::Fault;
use axebpf_core::helper::FUNCTIONS;
use helper_world::formats::{Arg, cases};
use helper_world::{GUEST, USER, World, errno};

/// Where the world keeps a format, the arguments as u64, and strings.
const DATA: u64 = 2048;
const STRINGS: u64 = 2560;

/// Puts a format and its arguments into memory: address and size of the format, arguments.
fn place(world: &World, format: &[u8], args: &[Arg]) -> (u64, u64, Vec<u64>) {
    let text = [format, b"\0"].concat();
    let mut at = STRINGS;
    let args = args.iter().map(|arg| match arg {
        Arg::Number(number) => *number,
        Arg::String(bytes) => {
            let address = world.put(at, &[bytes, &b"\0"[..]].concat());
            at += bytes.len() as u64 + 1;
            address
        }
    });
    (world.put(0, &text), text.len() as u64, args.collect())
}

fn put_data(world: &World, args: &[u64]) -> [u64; 2] {
    let bytes: Vec<u8> = args.iter().flat_map(|arg| arg.to_le_bytes()).collect();
    [world.put(DATA, &bytes), bytes.len() as u64]
}

/// Result and printed text of `bpf_trace_printk`.
fn printk(world: &World, format: &[u8], args: &[u64]) -> (i64, Option<String>) {
    let (fmt, size, _) = place(world, format, &[]);
    let result = world.value(6, &[&[fmt, size], args].concat());
    (result, world.printed.borrow_mut().pop())
}

#[test]
fn prints_what_linux_prints() {
    for case in cases() {
        let world = World::new();
        let (fmt, size, args) = place(&world, &case.format, &case.args);
        let [data, len] = put_data(&world, &args);
        let result = match args.len() {
            0..=3 => world.value(6, &[&[fmt, size], &args[..]].concat()),
            _ => world.value(177, &[fmt, size, data, len]),
        };
        assert_eq!(result, case.result, "{case:?}");
        let expected = if result < 0 { vec![] } else { vec![String::from_utf8_lossy(&case.text).into_owned()] };
        assert_eq!(*world.printed.borrow(), expected, "{case:?}");
    }
}

#[test]
fn addresses_print_as_names() {
    let world = World::new();
    let memory = world.at(8);
    for (format, text) in
        [("%p", "ctx+8"), ("%pK.", "ctx+8."), ("%8p|", "   ctx+8|"), ("%-8p|", "ctx+8   |"), ("%pS", "ctx+8")]
    {
        assert_eq!(printk(&world, format.as_bytes(), &[memory]), (text.len() as i64, Some(text.to_owned())));
    }
    assert_eq!(printk(&world, b"%p", &[0x10]).1.unwrap(), "0x10");
    assert_eq!(printk(&world, b"%ps", &[FUNCTIONS + 3]).1.unwrap(), "0xffffc00000000003");
    for bad in ["%pa", "%pé", "%p\u{1}", "%p9"] {
        assert_eq!(printk(&world, bad.as_bytes(), &[memory]), (errno(Errno::EINVAL), None), "{bad}");
    }
}

#[test]
fn symbols_come_from_the_host() {
    let world = World::new();
    let address = 0xffff_ffff_8100_0004;
    assert_eq!(printk(&world, b"%ps", &[address]).1.unwrap(), "vcpu_run");
    assert_eq!(printk(&world, b"%pS", &[address]).1.unwrap(), "vcpu_run+0x4/0x20");
    assert_eq!(printk(&world, b"%pB", &[address]).1.unwrap(), "vcpu_run+0x4/0x20");
    assert_eq!(printk(&world, b"%10ps|", &[address]).1.unwrap(), "  vcpu_run|");
}

#[test]
fn strings_of_the_guest() {
    let world = World::new();
    assert_eq!(printk(&world, b"%s|%pks", &[GUEST; 2]).1.unwrap(), "guest memory|guest memory");
    assert_eq!(printk(&world, b"%s|%pus|%pks|", &[USER; 3]).1.unwrap(), "user string|user string|user string|");
}

#[test]
fn a_format_ends_within_its_size() {
    let world = World::new();
    let fmt = world.put(0, b"%d %d\0%n");
    let of = |size: u64| world.value(6, &[fmt, size, 1, 2]);
    for size in 0..6 {
        assert_eq!(of(size), errno(Errno::EINVAL), "{size}");
    }
    assert_eq!((of(6), of(8)), (3, 3));
    assert!(matches!(*world.call(6, &[8, 4]).unwrap_err(), Fault::Memory { size: 4, write: false, .. }));
}

#[test]
fn vprintk_takes_up_to_twelve_arguments() {
    let world = World::new();
    let vprintk = |format: &[u8], args: &[u64], len: u64| {
        let (fmt, size, _) = place(&world, format, &[]);
        world.value(177, &[fmt, size, put_data(&world, args)[0], len])
    };
    assert_eq!(vprintk(b"%d", &[1], 8), 1);
    assert_eq!(vprintk(b"hi", &[1, 2], 16), 2, "more arguments than conversions");
    assert_eq!(vprintk(b"%d %d", &[1], 8), errno(Errno::EINVAL), "fewer");
    assert_eq!(vprintk(b"%d", &[1], 7), errno(Errno::EINVAL));
    assert_eq!(vprintk(b"%d", &[1], 9), errno(Errno::EINVAL));
    assert_eq!(vprintk(&b"%d".repeat(12), &[1; 12], 96), 12);
    assert_eq!(vprintk(b"%d", &[1; 13], 104), errno(Errno::EINVAL));
    let (fmt, size, _) = place(&world, b"hi", &[]);
    assert_eq!(world.value(177, &[fmt, size, 0, 0]), 2);
    assert_eq!(world.value(177, &[fmt, size, 0, 8]), errno(Errno::EINVAL));
    assert!(world.call(177, &[fmt, size, 16, 8]).is_err());
}

#[test]
fn snprintf_writes_what_fits() {
    let world = World::new();
    let snprintf = |size: u64, format: &[u8], args: &[u64]| {
        world.put(4096, &[0xaa; 32]);
        let (fmt, _, _) = place(&world, format, &[]);
        let [data, len] = put_data(&world, args);
        (world.value(165, &[world.at(4096), size, fmt, data, len]), world.get(4096, 18))
    };
    let starts = |(r0, bytes): (i64, Vec<u8>), expected: i64, front: &[u8]| {
        assert_eq!((r0, &bytes[..front.len()]), (expected, front));
    };
    starts(snprintf(16, b"x=%d y=%d", &[1, 2]), 8, b"x=1 y=2\0\xaa");
    starts(snprintf(4, b"x=%d y=%d", &[1, 2]), 8, b"x=1\0\xaa");
    starts(snprintf(1, b"%d", &[7]), 2, b"\0\xaa");
    starts(snprintf(0, b"%d", &[7]), 2, b"\xaa");
    starts(snprintf(16, b"hi", &[]), 3, b"hi\0\xaa");
    starts(snprintf(16, b"%d", &[1, 2]), 2, b"1\0\xaa");
    starts(snprintf(16, b"%2000d", &[1]), 2001, b"               \0\xaa");
    starts(snprintf(16, b"%c%c", &[65, 0]), 3, b"A\0\0\xaa");
    starts(snprintf(16, &b"%d".repeat(12), &[1; 12]), 13, b"111111111111\0\xaa");
    starts(snprintf(16, &b"%d".repeat(13), &[1; 13]), errno(Errno::EINVAL), &[0xaa; 16]);
    starts(snprintf(16, b"%o", &[1]), errno(Errno::EINVAL), &[0xaa; 16]);
    let fmt = world.put(0, b"%d\0");
    assert_eq!(world.value(165, &[0, 0, fmt, put_data(&world, &[7])[0], 8]), 2, "null only measures");
    assert!(world.call(165, &[0, 1, fmt, 0, 0]).is_err());
    assert!(world.call(165, &[0, 0, 8, 0, 0]).is_err());
}
