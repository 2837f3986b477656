#!/usr/bin/env python3
"""Print what operations of maps cost: the kernel's helpers, axebpf's maps, kbpf-basic's and plain tables of Rust.

    ./maps.py                       as root: all of it, in rounds, with the ratios of axebpf to the kernel
    ./maps.py --entries             also how the cost grows with the number of entries

The kernel's side is `programs/helpers.bpf.c`, 64 calls in a row in a run, and `programs/rb_reserve.bpf.c`. The other
sides are `cargo run --release -p axebpf-core --features axvisor --example map_anchors`: the same calls straight through
`Map`, in a loop of Rust. So no engine is in it, nor the checks that a helper makes of its arguments.

Every figure is thread CPU time, the median over the rounds; in each round the kernel and the others run one after the
other on one CPU. "Less loop" is without the loop around the calls, "with loop" with it: the loop overlaps with the
calls, so the truth is between the two. A ratio is taken within each round, of both figures less their loops, and is the
median of those; so is "above native", the difference to the plain table.
"""

import argparse
import collections
import functools
import os
import pathlib
import tempfile

from bench import KERNEL, Samples, build, build_runner, find_clang, median, number_text, print_noise, print_table, run

OURS = "axebpf"
SHARED = "axebpf-shared"
NATIVE = "native"
RUNTIMES = [OURS, SHARED, "kbpf-basic", NATIVE]
CALLS = 64  # in one run of a program
BASE = "h_base"
RING = "rb_reserve"  # not among the helpers' programs
# operation: the ratio that axebpf is to stay within, where there is one
OPERATIONS = {
    "array_lookup": None,
    "array_update": None,
    "hash4_lookup": 0.3,
    "hash8_lookup": 0.3,
    "hash16_lookup": 0.3,
    "hash4_miss": 0.3,
    "hash4_update": 0.3,
    "hash8_update": 0.3,
    "hash16_update": 0.3,
    "hash4_ins_del": 0.3,
    "lru_lookup": None,
    "lru_update": None,
    "lru_evict": 0.25,
    "queue_push_pop": 0.25,
    RING: 0.5,
}


def measure(args, out):
    runner = build_runner("map_anchors", "axvisor")
    samples = Samples(args.rounds)
    for number in range(args.rounds):
        if args.kernel:
            samples.add(
                number, run([str(out / "kernel_anchor"), "run", str(out), "ev_step", "helpers", RING], args.cpu, out)
            )
        samples.add(number, run([runner], args.cpu, out))
    if args.entries:
        for number in range(args.rounds):
            samples.add(number, run([runner, "--entries"], args.cpu, out))
    return samples


def call(samples, runtime, operation, number):
    """Nanoseconds of a call in a round, less the loop around it."""
    if operation == RING and runtime == KERNEL:
        return samples.event(KERNEL, RING, number)
    with_loop = samples.value(runtime, f"h_{operation}", number)
    loop = samples.value(KERNEL if runtime == KERNEL else NATIVE, BASE, number)
    return None if with_loop is None or loop is None else (with_loop - loop) / CALLS


def with_loop(samples, runtime, operation, number):
    value = samples.value(runtime, f"h_{operation}", number)
    return None if value is None else value / CALLS


def ratio(samples, operation, number):
    ours, kernel = (call(samples, runtime, operation, number) for runtime in (OURS, KERNEL))
    return None if ours is None or not kernel else ours / kernel


def above_native(samples, operation, number):
    ours, native = (call(samples, runtime, operation, number) for runtime in (OURS, NATIVE))
    return None if ours is None or native is None else ours - native


def print_operations(samples):
    print("\nns per call, less loop (with loop)\n")
    rows = []
    for operation, limit in OPERATIONS.items():
        row = [operation]
        for runtime in (KERNEL, *RUNTIMES):
            less, raw = (
                median(samples.over_rounds(functools.partial(figure, samples, runtime, operation)))
                for figure in (call, with_loop)
            )
            row.append("-" if less is None else f"{number_text(less)} ({number_text(raw)})")
        for figure in (ratio, above_native):
            row.append(number_text(median(samples.over_rounds(functools.partial(figure, samples, operation))), 2))
        row.append("" if limit is None else f"{limit}")
        rows.append(row)
    print_table(["operation", KERNEL, *RUNTIMES, "axebpf/kernel", "above native", "at most"], rows)


def print_entries(samples):
    figures = collections.defaultdict(list)
    for _, word, *rest in samples.other:
        if word == "entries":
            runtime, operation, entries, ns = rest
            figures[operation, runtime, int(entries)].append(float(ns))
    if not figures:
        return
    print("ns per call by number of entries, keys and values of 8 bytes, keys in no order, with the loop\n")
    sizes = sorted({entries for _, _, entries in figures})
    rows = [
        [f"{operation}, {runtime}", *(number_text(median(figures[operation, runtime, size])) for size in sizes)]
        for operation, runtime in dict.fromkeys((operation, runtime) for operation, runtime, _ in figures)
    ]
    print_table(["operation", *(f"{size:,}" for size in sizes)], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the CPU that all are pinned to")
    parser.add_argument("--clang", default=find_clang(), help="default: clang, clang-19 or clang-14")
    parser.add_argument("--no-kernel", dest="kernel", action="store_false")
    parser.add_argument("--entries", action="store_true", help="also by number of entries")
    args = parser.parse_args()
    if args.clang is None:
        parser.error("no clang found; name one with --clang")
    if args.kernel and os.geteuid() != 0:
        parser.error("the kernel's helpers need root; leave them out with --no-kernel")
    with tempfile.TemporaryDirectory(prefix="anchors-") as temporary:
        out = pathlib.Path(temporary)
        build(out, args.clang, args.kernel)
        samples = measure(args, out)
    for part in (print_operations, print_entries, print_noise):
        part(samples)


if __name__ == "__main__":
    main()
