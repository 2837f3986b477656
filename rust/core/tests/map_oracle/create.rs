//! `BPF_MAP_CREATE` with random flags and sizes: the same errno.

use axebpf_core::map::{BPF_F_NO_PREALLOC, Keys, MAX_BYTES, MapError, MapKind, MapSpec, create, create_with};

use crate::kernel::{self, KernelMap};
use crate::map_support::{Random, spec};

/// Bytes that both sides may take for one map of this test.
const AFFORDABLE: u64 = 8 << 20;

fn errno_of(result: Result<(), MapError>) -> i32 {
    result.err().map_or(0, |error| error.errno().0)
}

#[test]
fn random_specs() {
    if let Some(reason) = kernel::unavailable() {
        eprintln!("skipped: {reason}");
        return;
    }
    let cpus = kernel::cpus();
    let mut random = Random(1);
    let mut compared = 0;
    let inner = spec(MapKind::Array, 4, 8, 4, 0);
    let (our_inner, their_inner) = (create(inner.clone(), cpus).unwrap(), KernelMap::create(&inner, cpus).unwrap());
    for kind in MapKind::offered() {
        let (of_maps, by_number) = (kind.is_of_maps(), kind.rules().is_some_and(|rules| rules.by_number));
        for _ in 0..1500 {
            let sizes = [
                0, 1, 4, 5, 8, 16, 4096, 32768, 32769, 260, 261, 4_161_487, 4_161_488, 4_194_024, 4_194_025, 4_194_247,
                4_194_248,
            ];
            let huge = [4_194_304, 4_194_305, i32::MAX as u32, 1 << 31, u32::MAX];
            let mut flags = 0;
            for _ in 0..random.pick(&[0, 0, 1, 1, 2]) {
                // Not bit 5 (a stack trace flag), nor from bit 13 on, which take other arguments.
                flags |= 1 << random.pick(&[0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]);
            }
            let of = |random: &mut Random, usual: &[u32]| match random.below(8) {
                0 => random.pick(&huge),
                1..=3 => random.pick(&sizes),
                _ => random.pick(usual),
            };
            let keyless = kind.rules().is_some_and(|rules| rules.keys == Keys::None);
            if kind == MapKind::LpmTrie && random.below(4) > 0 {
                flags |= BPF_F_NO_PREALLOC;
            }
            let spec = MapSpec {
                name: String::new(),
                kind,
                key_size: of(&mut random, if keyless { &[0] } else { &[4, 8] }),
                value_size: match kind {
                    MapKind::RingBuf => of(&mut random, &[0]),
                    _ => of(&mut random, if by_number { &[4, 4, 4, 8] } else { &[1, 8, 24] }),
                },
                max_entries: of(&mut random, &[1, 3, 4095, 4096, 12288, (1 << 28) + 1]),
                flags,
                extra: random.pick(&[0, 0, 0, 0, 0, 0, 0, 1, 15, 16]),
            };
            let ours = create_with(spec.clone(), cpus, of_maps.then_some(&*our_inner));
            let ours = errno_of(ours.map(drop));
            let value = u64::from(spec.value_size.max(2)) * if kind.is_per_cpu() { u64::from(cpus) } else { 1 };
            let bytes = (u64::from(spec.key_size) + value + 64).saturating_mul(u64::from(spec.max_entries));
            if (ours == 0 || ours == libc::ENOMEM) && bytes > AFFORDABLE {
                continue;
            }
            let inner = if of_maps { their_inner.fd() } else { 0 };
            let theirs = KernelMap::create_with(&spec, cpus, inner).err().unwrap_or(0);
            assert_eq!(ours, theirs, "{spec:?}");
            compared += 1;
        }
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn more_memory_than_there_is() {
    // Measured: an array of 2^32 - 1 entries of 8 bytes is ENOMEM, one of 65536 x 65536 bytes is not.
    const { assert!(MAX_BYTES >= 65536 * 65536 && MAX_BYTES < u32::MAX as u64 * 8) };
}
