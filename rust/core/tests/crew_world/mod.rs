//! A bench whose programs use all that a crew must bring together: maps of every sharing, prints, tail calls, filters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code)] // each test binary uses its part

use axebpf_core::bench::{Bench, BenchError, Counts, Crew, Fired, MixedColumns, Options};
use axebpf_core::event::{Column, FieldSpec, FieldType, Payload, Role, Scalar, Stamp, Statistics, TracepointSpec};
use axebpf_core::isa::{Insn, assemble};
use axebpf_core::map::{MapKind, MapSpec};

use crate::random::Random;

pub const CPUS: u32 = 5;

/// Shared counters by the low bits of `n`, with an atomic add.
pub const SHARED: i32 = 0;
/// A counter of each CPU.
pub const PER_CPU: i32 = 1;
/// A hash of each CPU, by the low bits of `n`.
pub const PER_CPU_HASH: i32 = 2;
/// Programs to go on with.
pub const JUMPS: i32 = 3;
/// A hash in which each key is written by one CPU.
pub const OWN_KEYS: i32 = 4;

/// Counts in the shared array and that of the CPU, prints some lines, turns a loop, and goes on with another program.
const MAIN: &str = "
    r6 = r1
    r7 = *(u64 *)(r6 +8)
    r8 = r7
    r8 &= 7
    *(u32 *)(r10 -4) = r8
    r2 = r10
    r2 += -4
    r1 = map[0]
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
    *(u32 *)(r10 -4) = 0
    r2 = r10
    r2 += -4
    r1 = map[1]
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = *(u64 *)(r0 +0)
    r1 += 1
    *(u64 *)(r0 +0) = r1
    r9 = r7
    r9 >>= 3
    r9 &= 3
print:
    if r9 == 0 goto printed
    r1 = 0x000a756c6c253d6e ll
    *(u64 *)(r10 -16) = r1
    r1 = r10
    r1 += -16
    r2 = 8
    r3 = r7
    call bpf_trace_printk#6
    r9 += -1
    goto print
printed:
    r9 = r7
    r9 &= 31
again:
    r9 += -1
    if r9 s> 0 goto again
    r1 = r6
    r2 = map[3]
    r3 = r7
    r3 &= 3
    call bpf_tail_call#12
out:
    r0 = 0
    exit
";

/// Adds `n` to an entry of the CPU's hash; makes it where there is none.
const ADDS: &str = "
    r6 = *(u64 *)(r1 +8)
    r7 = r6
    r7 &= 63
    *(u64 *)(r10 -8) = r7
    r2 = r10
    r2 += -8
    r1 = map[2]
    call bpf_map_lookup_elem#1
    if r0 == 0 goto new
    r1 = *(u64 *)(r0 +0)
    r1 += r6
    *(u64 *)(r0 +0) = r1
    r0 = 1
    exit
new:
    *(u64 *)(r10 -16) = r6
    r1 = map[2]
    r2 = r10
    r2 += -8
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem#2
    r0 = 0
    exit
";

/// Writes under a key that is this CPU's, or deletes it.
const WRITES: &str = "
    r6 = *(u64 *)(r1 +0)
    call bpf_get_smp_processor_id#8
    r0 <<= 32
    r7 = r6
    r7 &= 15
    r0 |= r7
    *(u64 *)(r10 -8) = r0
    *(u64 *)(r10 -16) = r6
    r2 = r10
    r2 += -8
    r1 = map[4]
    r7 = r6
    r7 &= 64
    if r7 != 0 goto delete
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem#2
    goto out
delete:
    call bpf_map_delete_elem#3
out:
    r0 = 0
    exit
";

/// Reads at the null pointer where `n` is 1234567.
const FAILS: &str = "r1 = *(u64 *)(r1 +8)\nr0 = 0\nif r1 != 1234567 goto +1\nr0 = *(u64 *)(r0 +0)\nr0 = 0\nexit";

pub struct World {
    pub bench: Bench,
    /// Main, adds, writes, fails.
    pub programs: Vec<usize>,
    pub maps: Vec<usize>,
}

pub fn map(name: &str, kind: MapKind, key_size: u32, max_entries: u32) -> MapSpec {
    let value_size = if kind == MapKind::ProgArray { 4 } else { 8 };
    MapSpec { name: name.to_owned(), kind, key_size, value_size, max_entries, flags: 0, extra: 0 }
}

pub fn load(bench: &Bench, name: &str, program_type: &str, text: &str, maps: &[(i32, usize)]) -> usize {
    let code: Vec<u8> = assemble(text).unwrap().into_iter().flat_map(Insn::to_bytes).collect();
    bench.load_bytes(name, &code, program_type, "GPL", maps).unwrap()
}

impl World {
    pub fn new(options: Options) -> World {
        let bench = Bench::new(Options { cpus: CPUS, ..options }).unwrap();
        let field = |name: &str, role| FieldSpec { role, ..FieldSpec::new(name, FieldType::Scalar(Scalar::U64)) };
        for (id, (name, role)) in [("vmm:a", Role::Duration), ("vmm:b", Role::None)].into_iter().enumerate() {
            let fields = vec![field("n", Role::None), field("duration_ns", role)];
            bench.define(TracepointSpec::new(name, id as u16 + 1, fields).unwrap()).unwrap();
        }
        let maps = [
            map("SHARED", MapKind::Array, 4, 8),
            map("PER_CPU", MapKind::PercpuArray, 4, 1),
            map("PER_CPU_HASH", MapKind::PercpuHash, 8, 64),
            map("JUMPS", MapKind::ProgArray, 4, 4),
            map("OWN_KEYS", MapKind::Hash, 8, 1000),
        ];
        let maps = maps.map(|spec| bench.create_map(spec).unwrap()).to_vec();
        let by_fd: Vec<(i32, usize)> = (0..).zip(maps.iter().copied()).collect();
        let programs = vec![
            load(&bench, "main", "tracepoint", MAIN, &by_fd),
            load(&bench, "adds", "tracepoint", ADDS, &by_fd),
            load(
                &bench,
                "writes",
                "raw_tracepoint",
                WRITES,
                &by_fd[..3].iter().chain(&by_fd[4..]).copied().collect::<Vec<_>>(),
            ),
            load(&bench, "fails", "tracepoint", FAILS, &[]),
        ];
        // Who makes a key is a matter of chance where several may: they are there from the beginning.
        let adds = bench.map(maps[PER_CPU_HASH as usize]).unwrap();
        for key in 0..64_u64 {
            adds.update_user(&key.to_le_bytes(), &[0; 8 * CPUS as usize], 0).unwrap();
        }
        let jumps = bench.map(maps[JUMPS as usize]).unwrap();
        for index in [1_u32, 2] {
            // SAFETY: the map is of this bench, which is on this thread.
            unsafe {
                bench.update_map(&**jumps.shared(), &index.to_le_bytes(), &(programs[1] as u32).to_le_bytes(), 0)
            }
            .unwrap();
        }
        let (a, b) = (bench.tracepoint_named("vmm:a").unwrap(), bench.tracepoint_named("vmm:b").unwrap());
        bench.attach(a, programs[0], 0).unwrap();
        bench.attach(a, programs[3], 0).unwrap();
        bench.attach_filtered(b, programs[2], 7, Some("n & 3 && cpu != 2")).unwrap();
        bench.attach(b, programs[0], 0).unwrap();
        bench.set_enabled(b, true);
        bench.set_filter(b, Some("n & 1")).unwrap();
        World { bench, programs, maps }
    }

    /// The numbers in a map of numbers.
    pub fn counted(&self, map: i32) -> Vec<u64> {
        let (_, values) = dump(&self.bench, self.maps[map as usize]);
        values.chunks(8).map(|value| u64::from_le_bytes(value.try_into().unwrap())).collect()
    }

    pub fn fire(&self, batch: &Batch, threads: usize) -> Fired {
        let crew = self.bench.crew(threads).unwrap();
        batch.fire(&self.bench, &crew).unwrap()
    }
}

/// Rows of both tracepoints in one order.
#[derive(Clone, Default)]
pub struct Batch {
    pub order: Vec<u16>,
    pub times: Vec<u64>,
    pub cpus: Vec<u32>,
    pub n: [Vec<u64>; 2],
    pub durations: [Vec<u64>; 2],
}

impl Batch {
    /// Random rows; times go backwards sometimes, and some CPUs are busier than others.
    pub fn random(random: &mut Random, rows: usize) -> Batch {
        let mut batch = Batch::default();
        let mut time = 1_000;
        for _ in 0..rows {
            let which = random.below(2) as usize;
            time = (time + random.below(50)).saturating_sub(20);
            batch.order.push(which as u16);
            batch.times.push(time);
            batch.cpus.push(random.below(u64::from(CPUS) * 3) as u32 % 7 % CPUS);
            batch.n[which].push(random.below(4096));
            batch.durations[which].push(random.next() >> random.below(64));
        }
        batch
    }

    pub fn columns<'b>(&'b self, bench: &'b Bench) -> [MixedColumns<'b>; 2] {
        [0, 1].map(|which| {
            let name = ["vmm:a", "vmm:b"][which];
            let columns = vec![Column::U64(&self.n[which]), Column::U64(&self.durations[which])];
            (bench.tracepoint_named(name).unwrap(), columns)
        })
    }

    pub fn fire(&self, bench: &Bench, crew: &Crew<'_>) -> Result<Fired, BenchError> {
        crew.fire_mixed(&self.columns(bench), &self.order, &self.times, &self.cpus, &mut || Ok(()))
    }
}

/// An entry of the trace.
type Line = (u64, Stamp, Result<Vec<u8>, String>);

/// All that a bench shows of what it has done.
#[derive(PartialEq)]
pub struct Shown {
    pub fired: Vec<u64>,
    pub statistics: Vec<Statistics>,
    pub trace: Vec<Line>,
    pub written: u64,
    pub lost: Vec<u64>,
    pub counts: Vec<Counts>,
    pub profiles: Vec<Vec<(usize, u64)>>,
    /// Where the latest run of each program ended.
    pub ends: Vec<Option<usize>>,
    /// Programs by the end of their latest run.
    pub by_end: Vec<usize>,
    pub maps: Vec<(Vec<u8>, Vec<u8>)>,
    pub instructions: u64,
    pub now: u64,
}

impl Shown {
    /// Fails with the first part that is not the same.
    pub fn expect(&self, expected: &Shown, who: &str) {
        macro_rules! same {
            ($($part:ident)*) => {$(
                assert!(self.$part == expected.$part, "{who}: {} differ", stringify!($part));
            )*};
        }
        assert_eq!(self.counts, expected.counts, "{who}");
        assert_eq!(self.statistics, expected.statistics, "{who}");
        same!(fired statistics written lost trace counts profiles ends by_end maps instructions now);
        assert!(self == expected, "every part was compared");
    }
}

pub fn shown(world: &World) -> Shown {
    let bench = &world.bench;
    let tracepoints = ["vmm:a", "vmm:b"].map(|name| bench.tracepoint_named(name).unwrap());
    let programs: Vec<_> = world.programs.iter().map(|index| bench.program(*index).unwrap()).collect();
    let mut by_end: Vec<usize> = (0..programs.len()).filter(|at| programs[*at].last_run().is_some()).collect();
    by_end.sort_by_key(|at| programs[*at].last_run().map(|run| run.at));
    let (trace, written, lost) = bench.with_trace(|trace, _| {
        let lines = trace.iter().map(|entry| {
            let payload = match entry.payload {
                Payload::Record(record) => Ok(record.to_vec()),
                Payload::Print(text) => Err(text.to_owned()),
            };
            (entry.sequence, entry.stamp, payload)
        });
        (lines.collect(), trace.written(), trace.lost().collect())
    });
    Shown {
        fired: tracepoints.iter().map(|tracepoint| tracepoint.fired()).collect(),
        statistics: tracepoints.iter().map(|tracepoint| bench.statistics(tracepoint)).collect(),
        trace,
        written,
        lost,
        counts: programs.iter().map(|program| program.counts()).collect(),
        profiles: programs.iter().map(|program| program.profile().unwrap()).collect(),
        ends: programs.iter().map(|program| program.last_run().map(|run| run.insn)).collect(),
        by_end,
        maps: world.maps.iter().map(|index| dump(bench, *index)).collect(),
        instructions: bench.instructions(),
        now: bench.clock().now(),
    }
}

/// Keys and values of a map; of a hash in the order of the keys.
pub fn dump(bench: &Bench, index: usize) -> (Vec<u8>, Vec<u8>) {
    let map = bench.map(index).unwrap();
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let entries = map.dump_user(&mut keys, &mut values).unwrap();
    if entries == 0 {
        return (keys, values);
    }
    let (key, value) = (keys.len() / entries, values.len() / entries);
    let mut both: Vec<(&[u8], &[u8])> = keys.chunks(key).zip(values.chunks(value)).collect();
    both.sort_unstable();
    (
        both.iter().flat_map(|(key, _)| key.to_vec()).collect(),
        both.iter().flat_map(|(_, value)| value.to_vec()).collect(),
    )
}
