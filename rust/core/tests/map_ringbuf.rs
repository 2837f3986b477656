//! Ring buffers against a model of their arithmetic, and the records that wrap. Sizes: measured on Linux 6.18.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod map_support;

use std::collections::VecDeque;

use axebpf_core::errno::Errno;
use axebpf_core::map::{BPF_RB_AVAIL_DATA, BPF_RB_CONS_POS, BPF_RB_PROD_POS, BPF_RB_RING_SIZE, Map, MapKind};
use map_support::{Random, map};

fn consume(map: &dyn Map) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    map.consume_user(&mut out).expect("a ring buffer").then_some(out)
}

#[test]
fn the_largest_record() {
    for (size, fits) in [(4079, true), (4080, true), (4081, false), (4096, false), (5000, false), (1 << 30, false)] {
        let ring = map(MapKind::RingBuf, 0, 0, 4096, 0);
        assert_eq!(ring.reserve(size).err(), (!fits).then_some(Errno::EAGAIN), "{size}");
    }
    assert_eq!(map(MapKind::RingBuf, 0, 0, 4096, 0).reserve(u64::MAX).err(), Some(Errno::EAGAIN));
    let ring = map(MapKind::RingBuf, 0, 0, 4096, 0);
    let results = [0; 3].map(|_| ring.reserve(2000).err());
    assert_eq!(results, [None, None, Some(Errno::EAGAIN)]);
}

/// Of the largest ring there is; its memory is not touched but for the headers.
#[test]
fn the_largest_record_of_all() {
    const MAX: u64 = u32::MAX as u64 / 4;
    let ring = map(MapKind::RingBuf, 0, 0, 1 << 31, 0);
    assert_eq!(ring.reserve(MAX + 1).err(), Some(Errno::EAGAIN));
    let first = ring.reserve(MAX).expect("room").as_ptr() as u64;
    assert_eq!(ring.reserve(MAX).err(), Some(Errno::EAGAIN), "one byte stays unused");
    let rest = (1 << 31) - ring.query(BPF_RB_PROD_POS) - 8;
    assert_eq!(ring.reserve(rest).err(), Some(Errno::EAGAIN), "as here");
    let second = ring.reserve(rest - 8).expect("room").as_ptr() as u64;
    ring.commit(first, 0, true).expect("it is reserved");
    ring.commit(second, 0, true).expect("it is reserved");
    assert_eq!(consume(ring.as_ref()), None);
    assert_eq!(ring.query(BPF_RB_CONS_POS), (1 << 31) - 8);
    let wraps = ring.reserve(4096).expect("room").as_ptr() as u64;
    // SAFETY: a reserved record of 4096 bytes.
    unsafe { (wraps as *mut u8).write_bytes(7, 4096) };
    ring.commit(wraps, 0, false).expect("it is reserved");
    assert_eq!(consume(ring.as_ref()), Some(vec![7; 4096]));
}

struct Record {
    position: u64,
    address: u64,
    payload: Vec<u8>,
    committed: bool,
    discarded: bool,
}

/// Reserves, commits in any order, and consumes; every payload must come out as it was written.
#[test]
fn random_records() {
    for pages in [1_u32, 2, 8] {
        let size = pages * 4096;
        let ring = map(MapKind::RingBuf, 0, 0, size, 0);
        let mut random = Random(u64::from(pages));
        let mut model: VecDeque<Record> = VecDeque::new();
        let (mut consumer, mut producer, mut wakeups) = (0_u64, 0_u64, 0);
        let taken = |len: usize| (len as u64 + 8).next_multiple_of(8);
        for _ in 0..20_000 {
            match random.below(8) {
                0..3 => {
                    let len = if random.below(20) == 0 { random.below(9000) } else { random.below(300) } as usize;
                    let room = producer + taken(len) - consumer < u64::from(size);
                    let record = ring.reserve(len as u64);
                    assert_eq!(record.as_ref().err(), if room { None } else { Some(&Errno::EAGAIN) }, "{len}");
                    let Ok(record) = record else { continue };
                    let payload = random.bytes(len);
                    // SAFETY: a reserved record of `len` bytes; `payload` is elsewhere.
                    unsafe { record.as_ptr().copy_from_nonoverlapping(payload.as_ptr(), len) };
                    let address = record.as_ptr() as u64;
                    model.push_back(Record {
                        position: producer,
                        address,
                        payload,
                        committed: false,
                        discarded: false,
                    });
                    producer += taken(len);
                }
                3..6 => {
                    let open: Vec<_> = (0..model.len()).filter(|n| !model[*n].committed).collect();
                    if open.is_empty() {
                        continue;
                    }
                    let record = &mut model[random.pick(&open)];
                    record.discarded = random.below(4) == 0;
                    record.committed = true;
                    let flags = random.below(5);
                    wakeups += u64::from(match flags & 3 {
                        0 => record.position == consumer,
                        1 => false,
                        _ => true,
                    });
                    assert_eq!(ring.commit(record.address, flags, record.discarded), Ok(()));
                    assert_eq!(ring.commit(record.address, 0, false), Err(Errno::EINVAL), "only once");
                }
                _ => {
                    let mut expected = None;
                    while let Some(record) = model.pop_front_if(|record| record.committed) {
                        consumer += taken(record.payload.len());
                        if !record.discarded {
                            expected = Some(record.payload);
                            break;
                        }
                    }
                    assert_eq!(consume(ring.as_ref()), expected);
                }
            }
            let query =
                [BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE, BPF_RB_CONS_POS, BPF_RB_PROD_POS, 4].map(|n| ring.query(n));
            assert_eq!(query, [producer - consumer, u64::from(size), consumer, producer, 0]);
            assert_eq!(ring.wakeups_user(), Ok(wakeups));
            assert_eq!(ring.len(), model.iter().filter(|record| !record.discarded).count());
            for record in &model {
                let here = [record.address - 8, record.address, record.address + record.payload.len() as u64];
                assert_eq!(here.map(|address| ring.window(address)), [None; 3], "a record is for the run that has it");
            }
        }
    }
}

#[test]
fn only_a_reserved_record_is_committed() {
    let ring = map(MapKind::RingBuf, 0, 0, 4096, 0);
    // So that the next record wraps.
    let first = ring.reserve(4000).expect("room").as_ptr() as u64;
    let start = first - 8;
    ring.commit(first, 0, false).expect("it is reserved");
    assert_eq!(consume(ring.as_ref()).map(|record| record.len()), Some(4000));
    let record = ring.reserve(500).expect("room").as_ptr() as u64;
    assert_eq!(record, start + 4016);
    for not_a_record in [0, 7, record - 8, record + 8, record + 4096, record - 4096, start, start + 8, u64::MAX] {
        assert_eq!(ring.commit(not_a_record, 0, false), Err(Errno::EINVAL));
    }
    assert_eq!(ring.commit(record, 0, false), Ok(()));
}

#[test]
fn many_records_are_reserved_at_once() {
    for backwards in [false, true] {
        let ring = map(MapKind::RingBuf, 0, 0, 1 << 22, 0);
        let mut records: Vec<u64> = (0..).map_while(|_| ring.reserve(0).ok()).map(|at| at.as_ptr() as u64).collect();
        assert_eq!(records.len(), (1 << 19) - 1, "one byte stays unused");
        if backwards {
            records.reverse();
        }
        let last = records.last().copied();
        for record in records {
            ring.commit(record, 0, false).expect("it is reserved");
            let all = !backwards || Some(record) == last;
            assert_eq!(consume(ring.as_ref()), all.then(Vec::new));
        }
    }
}

#[test]
fn a_busy_record_holds_back_the_ones_behind_it() {
    let ring = map(MapKind::RingBuf, 0, 0, 4096, 0);
    let (one, two) = (ring.reserve(8).expect("room"), ring.reserve(8).expect("room"));
    ring.commit(two.as_ptr() as u64, 1, false).expect("it is reserved");
    assert_eq!(consume(ring.as_ref()), None);
    ring.commit(one.as_ptr() as u64, 2, true).expect("it is reserved");
    assert_eq!(consume(ring.as_ref()), Some(vec![0; 8]), "the discarded one is passed over");
    assert_eq!(consume(ring.as_ref()), None);
    let hash = map(MapKind::Hash, 4, 4, 1, 0);
    assert_eq!(hash.consume_user(&mut Vec::new()), Err(Errno::ENOTSUPP));
    assert_eq!(hash.wakeups_user(), Err(Errno::ENOTSUPP));
}
