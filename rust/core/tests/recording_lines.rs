//! Lines of ftrace's text, in the words of every tool that writes them; and files cut into lines, whatever the pieces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axebpf_core::recording::ftrace::{Head, Line, parse};
use proptest::prelude::*;

fn event(line: &[u8]) -> Head<'_> {
    match parse(line) {
        Line::Event(head) => head,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(line)),
    }
}

/// A line, and its comm, pid, tgid, CPU, time, system, event, text.
type Case = (&'static str, &'static str, i32, Option<i32>, u32, u64, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const CASES: &[Case] = &[
    // cat trace, trace_pipe
    ("         python3-14430   [001] d..1. 18714.990322: kvm_fpu: load", "python3", 14430, None, 1, 18_714_990_322_000, "", "kvm_fpu", "load"),
    ("          <idle>-0       [000] d.h1.     0.000001: kvm_pio: pio_write at 0x20 size 1 count 1 val 0x11 ", "<idle>", 0, None, 0, 1000, "", "kvm_pio", "pio_write at 0x20 size 1 count 1 val 0x11"),
    ("           <...>-99999999 [1023] .... 5.000000: e: ", "", 99_999_999, None, 1023, 5_000_000_000, "", "e", ""),
    // four letters of flags, as before Linux 5.15; none at all
    ("     qemu-1 [003] d... 1.5: e: x", "qemu", 1, None, 3, 1_500_000_000, "", "e", "x"),
    ("     qemu-1 [003]  1.5: e: x", "qemu", 1, None, 3, 1_500_000_000, "", "e", "x"),
    // the column of processes
    ("         python3-30182   (  30182) [001] d..1. 19131.776858: kvm_fpu: load", "python3", 30182, Some(30182), 1, 19_131_776_858_000, "", "kvm_fpu", "load"),
    ("         python3-30182   (-------) [001] d..1. 19131.776858: kvm_fpu: load", "python3", 30182, None, 1, 19_131_776_858_000, "", "kvm_fpu", "load"),
    // names of tasks that are not easy
    ("       CPU 0/KVM-30476   [001] ..... 1.0: e: x", "CPU 0/KVM", 30476, None, 1, 1_000_000_000, "", "e", "x"),
    ("   kvm-pit/14430-14510   [001] ..... 1.0: e: x", "kvm-pit/14430", 14510, None, 1, 1_000_000_000, "", "e", "x"),
    ("  a-b-12 [0] (x)-7   [001] ..... 1.0: e: x", "a-b-12 [0] (x)", 7, None, 1, 1_000_000_000, "", "e", "x"),
    ("  e: [000] 1.0: f-7   [001] ..... 1.0: e: x", "e: [000] 1.0: f", 7, None, 1, 1_000_000_000, "", "e", "x"),
    ("  (1)-7   [001] ..... 1.0: e: x", "(1)", 7, None, 1, 1_000_000_000, "", "e", "x"),
    ("-7   [001] ..... 1.0: e: x", "", 7, None, 1, 1_000_000_000, "", "e", "x"),
    // nanoseconds (trace-cmd report -t), and clocks that count something else
    ("  q-7   [001] ..... 1.123456789: e: x", "q", 7, None, 1, 1_123_456_789, "", "e", "x"),
    ("  q-7   [001] ..... 123456789: e: x", "q", 7, None, 1, 123_456_789, "", "e", "x"),
    ("  q-7   [001] ..... 18446744073.709551615: e: x", "q", 7, None, 1, u64::MAX, "", "e", "x"),
    // trace-cmd report: the text is padded; the buffer's name in front
    ("         python3-31676 [001] 19162.444785: kvm_fpu:              load", "python3", 31676, None, 1, 19_162_444_785_000, "", "kvm_fpu", "load"),
    ("guest:       CPU 0/KVM-31748 [001] 19162.461903: kvm_fpu:              load", "CPU 0/KVM", 31748, None, 1, 19_162_461_903_000, "", "kvm_fpu", "load"),
    ("          <idle>-0     [001] d..1.  1.0: kvm_fpu:              load", "<idle>", 0, None, 1, 1_000_000_000, "", "kvm_fpu", "load"),
    // perf script: the system before the event, the thread behind a space
    ("         python3 30626 [000] 19138.422659:        kvm:kvm_fpu: load", "python3", 30626, None, 0, 19_138_422_659_000, "kvm", "kvm_fpu", "load"),
    ("       CPU 0/KVM 30625/30706 [001] 19138.440524:   kvm:kvm_fpu: load", "CPU 0/KVM", 30706, None, 1, 19_138_440_524_000, "kvm", "kvm_fpu", "load"),
    // AxVisor
    ("         axvisor-0       [000] .....     1.000000: vm_destroy(vm_id=1)", "axvisor", 0, None, 0, 1_000_000_000, "", "vm_destroy", "vm_id=1"),
    ("         axvisor-0       [000] .....     1.000000: e(a=(1) b=2)", "axvisor", 0, None, 0, 1_000_000_000, "", "e", "a=(1) b=2"),
    // text that looks like more
    ("  q-7 [001] ..... 1.0: e: name: x: [3] 5.0: y: z", "q", 7, None, 1, 1_000_000_000, "", "e", "name: x: [3] 5.0: y: z"),
];

#[test]
fn heads_are_read_in_the_words_of_every_tool() {
    for &(line, comm, pid, tgid, cpu, time_ns, system, name, text) in CASES {
        let expected = Head {
            comm: comm.as_bytes(),
            pid,
            tgid,
            cpu,
            time_ns,
            system: system.as_bytes(),
            event: name.as_bytes(),
            text: text.as_bytes(),
        };
        assert_eq!(event(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_as_good_as_others() {
    let head = event(b"  \xff\xfe-7 [000] ..... 1.0: e: \x80");
    assert_eq!((head.comm, head.pid, head.text), (&b"\xff\xfe"[..], 7, &b"\x80"[..]));
}

#[test]
fn lines_that_are_no_events_are_told_apart() {
    let cases: &[(&str, Line<'_>)] = &[
        ("", Line::Nothing),
        ("  ", Line::Nothing),
        ("#              | |         |   |||||     |         |", Line::Nothing),
        ("##### CPU 1 buffer started ####", Line::Nothing),
        ("CPU 0 is empty", Line::Nothing),
        ("# tracer: nop", Line::Header),
        ("cpus=2", Line::Header),
        ("CPU:0 [LOST 12 EVENTS]", Line::Lost { cpu: 0, events: Some(12) }),
        ("CPU:17 [LOST EVENTS]", Line::Lost { cpu: 17, events: None }),
        ("CPU:1 [3 EVENTS DROPPED]", Line::Lost { cpu: 1, events: Some(3) }),
        ("CPU:1 [EVENTS DROPPED]", Line::Lost { cpu: 1, events: None }),
        ("CPU:1 [LOST many EVENTS]", Line::Unknown),
        ("CPU:99999999999 [LOST 1 EVENTS]", Line::Unknown),
        ("cpus=many", Line::Unknown),
        (" => kvm_vcpu_ioctl", Line::Unknown),
        ("  q-7 [001] ..... 1.0: schedule <-do_idle", Line::Unknown),
        ("  q-7 [001] ..... 1.0: e(x", Line::Unknown),
        ("  q-7 [001] ..... 1.0:", Line::Unknown),
        ("  q-7 [001] ..... 1.x: e: x", Line::Unknown),
        ("  q-7 [001] ..... 1.: e: x", Line::Unknown),
        ("  q-7 [001] ..... 1.0000000001x: e: x", Line::Unknown),
        ("  q-7 [001] .........  1.0: e: x", Line::Unknown),
        ("  q-7 [001 ..... 1.0: e: x", Line::Unknown),
        ("  q-7 [] ..... 1.0: e: x", Line::Unknown),
        ("  q-7 [4294967296] ..... 1.0: e: x", Line::Unknown),
        ("  q-7 [1] ..... 18446744073.709551616: e: x", Line::Unknown),
        ("  q-7 [1] ..... 18446744073709551616: e: x", Line::Unknown),
        ("  q-2147483648 [1] ..... 1.0: e: x", Line::Unknown),
        ("  q-x [1] ..... 1.0: e: x", Line::Unknown),
        ("[1] ..... 1.0: e: x", Line::Unknown),
    ];
    for (line, expected) in cases {
        assert_eq!(parse(line.as_bytes()), *expected, "{line}");
    }
}

mod pieces {
    use axebpf_core::recording::{LONGEST_LINE, Lines, Piece};

    use super::*;

    /// What is seen of a file that comes in pieces of these sizes.
    fn seen(file: &[u8], sizes: &[usize]) -> Vec<(u64, Option<Vec<u8>>, bool)> {
        let (mut lines, mut rest, mut found) = (Lines::default(), file, Vec::new());
        let mut see = |number, piece: Piece<'_>| {
            found.push(match piece {
                Piece::Line(line) => (number, Some(line.to_vec()), false),
                Piece::Cut(line) => (number, Some(line.to_vec()), true),
                Piece::TooLong => (number, None, false),
            });
            Ok::<_, ()>(())
        };
        for &size in sizes {
            let (piece, behind) = rest.split_at(size.min(rest.len()));
            lines.feed(piece, false, &mut see).unwrap();
            rest = behind;
        }
        lines.feed(rest, true, &mut see).unwrap();
        found
    }

    #[test]
    fn lines_end_with_a_newline_or_are_cut() {
        let line = |number, text: &str, cut| (number, Some(text.as_bytes().to_vec()), cut);
        assert_eq!(seen(b"", &[]), []);
        assert_eq!(
            seen(b"a\nb\r\n\nc", &[]),
            [line(1, "a", false), line(2, "b", false), line(3, "", false), line(4, "c", true)]
        );
    }

    #[test]
    fn a_line_of_the_longest_length_is_read_and_a_longer_one_passed_over() {
        for (len, read) in [(LONGEST_LINE, true), (LONGEST_LINE + 1, false), (3 * LONGEST_LINE, false)] {
            let mut file = vec![b'x'; len];
            file.extend_from_slice(b"\nnext\n");
            for sizes in [&[][..], &[LONGEST_LINE], &[7, LONGEST_LINE, LONGEST_LINE]] {
                let found = seen(&file, sizes);
                assert_eq!((found.len(), found[0].1.is_some()), (2, read), "{len} {sizes:?}");
                assert_eq!(found[1].1.as_deref(), Some(&b"next"[..]));
            }
            // The same without an end.
            assert_eq!(seen(&file[..len], &[])[0].1.is_some(), read);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn pieces_do_not_matter(file in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
                                sizes in proptest::collection::vec(0_usize..40, 0..20)) {
            prop_assert_eq!(seen(&file, &sizes), seen(&file, &[]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_line_is_too_strange(line in "[ -~]{0,20}(\\[[0-9]{1,4}\\])?[ .a-z0-9:]{0,20}[ -~]{0,20}") {
        if let Line::Event(head) = parse(line.as_bytes()) {
            prop_assert!(!head.event.is_empty());
        }
    }
}
