//! What an operation of a map takes, beside a plain table of Rust and the maps of kbpf-basic.
//!
//! ```text
//! cargo run --release -p axebpf-core --features axvisor --example map_anchors -- [--entries | OPERATION…]
//! ```
//!
//! `benches/anchors/maps.py` runs it in turn with the kernel and makes tables of it. An operation is called straight
//! through [`Map`], as a helper does when it has checked what it was given, 64 times in a row on 256 keys, each of which
//! is first written to memory in the pieces in which a program of clang's writes it. Each line is
//!
//! ```text
//! run RUNTIME h_OPERATION CPU_NS WALL_NS 0                  64 calls, with the loop around them; h_base is the loop alone
//! entries RUNTIME OPERATION ENTRIES CPU_NS                  one call on a map of so many entries (with --entries)
//! ```
//!
//! where RUNTIME is `axebpf` (a map that is alone, as a bench has it), `axebpf-shared` (one for several threads),
//! `kbpf-basic` (as a bench has it, with the copies that make it safe) or `native`.

use std::collections::VecDeque;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use axebpf_core::map::{Map, MapKind, MapSpec, create};
use axebpf_core::memory::{Bytes, BytesMut};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Calls in a row.
const CALLS: u64 = 64;
/// Entries of the maps, and keys that are used.
const ENTRIES: u32 = 1024;
const KEYS: u64 = 256;
/// Sizes of a hash, from all in the nearest cache to hardly any.
const SIZES: [u32; 5] = [100, 1000, 10_000, 100_000, 1_000_000];
/// CPU time of a measurement, about, and before it, at least.
const MEASURE_NS: f64 = 20e6;
const WARM_UP_NS: f64 = 5e6;
/// A ring-buffer record, and how many fit between two looks at the consumer.
const RECORD: usize = 96;
const RING: u32 = 1 << 20;

fn cpu_ns() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is one that every system has, and the structure is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// CPU and wall time of 64 calls of `call`, which is given a number that grows; `rest` is called in between, unmeasured.
fn time_calls<T>(mut call: impl FnMut(u64) -> T, mut rest: impl FnMut()) -> (f64, f64) {
    let mut next = 0_u64;
    let mut batches = |batches: u64| {
        let (mut cpu, mut wall) = (0.0, 0.0);
        for _ in 0..batches.div_ceil(100) {
            let (start, before) = (Instant::now(), cpu_ns());
            for _ in 0..100 {
                for n in next..next + CALLS {
                    black_box(call(n));
                }
                next += CALLS;
            }
            cpu += cpu_ns() - before;
            wall += start.elapsed().as_nanos() as f64;
            rest();
        }
        (cpu, wall)
    };
    let mut times = 100;
    let mut warm = batches(times).0;
    while warm < WARM_UP_NS {
        times *= 2;
        warm = batches(times).0;
    }
    let times = ((MEASURE_NS / warm * times as f64) as u64).next_multiple_of(100);
    let (cpu, wall) = batches(times);
    (cpu / times as f64, wall / times as f64)
}

fn print_calls<T>(runtime: &str, operation: &str, call: impl FnMut(u64) -> T, rest: impl FnMut()) {
    let mut names = std::env::args().skip(1).peekable();
    if names.peek().is_some() && !names.any(|name| name == operation) {
        return;
    }
    let (cpu, wall) = time_calls(call, rest);
    println!("run {runtime} h_{operation} {cpu:.3} {wall:.3} 0");
}

/// A key of so many words, each written by itself.
struct Words<T, const N: usize>([T; N]);

impl<T: Copy + Default, const N: usize> Words<T, N> {
    #[inline(always)]
    fn new(first: T) -> Words<T, N> {
        let mut words = Words([T::default(); N]);
        for (n, word) in words.0.iter_mut().enumerate() {
            let value = if n == 0 { first } else { T::default() };
            // SAFETY: a word of an array of ours. Volatile, so that the compiler does not write two of them at once.
            unsafe { std::ptr::from_mut(word).write_volatile(value) };
        }
        words
    }

    #[inline(always)]
    fn bytes(&self) -> Bytes<'_> {
        // SAFETY: the words are integers, all of whose bytes are there.
        unsafe { Bytes::from_raw(self.0.as_ptr().cast(), size_of_val(&self.0)) }
    }
}

/// The key of the `n`th call.
#[inline(always)]
fn key(n: u64) -> u64 {
    black_box(n % KEYS)
}

fn spec(kind: MapKind, key_size: u32, max_entries: u32) -> MapSpec {
    let value_size = if kind == MapKind::RingBuf { 0 } else { 8 };
    MapSpec { name: "M".to_owned(), kind, key_size, value_size, max_entries, flags: 0, extra: 0 }
}

/// How maps are made.
type Make = fn(MapSpec) -> Result<Arc<dyn Map>, Box<dyn Error>>;

fn shared(spec: MapSpec) -> Result<Arc<dyn Map>, Box<dyn Error>> {
    Ok(create(spec, 1)?)
}

fn alone(spec: MapSpec) -> Result<Arc<dyn Map>, Box<dyn Error>> {
    let map = create(spec, 1)?;
    // SAFETY: this program has one thread.
    unsafe { map.set_alone(true) };
    Ok(map)
}

/// A map with the keys that the kernel's has, too.
fn filled(make: Make, kind: MapKind, key_size: u32) -> Result<Arc<dyn Map>, Box<dyn Error>> {
    let map = make(spec(kind, key_size, ENTRIES))?;
    for n in 0..KEYS {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&n.to_le_bytes());
        map.update_user(&key[..key_size as usize], &1_u64.to_le_bytes(), 0)?;
    }
    Ok(map)
}

#[inline(always)]
fn look_up(map: &dyn Map, key: Bytes<'_>) -> u64 {
    // SAFETY: a value of eight bytes on a boundary of eight, of a map that is alive.
    map.lookup(0, key).map_or(0, |value| unsafe { value.cast::<u64>().read_volatile() })
}

#[inline(always)]
fn update(map: &dyn Map, key: Bytes<'_>, value: u64) -> u64 {
    let value = Words::<u64, 1>::new(value);
    u64::from(map.update(0, key, value.bytes(), 0).is_ok())
}

/// All operations of the maps that `make` makes; `lends` where values are copies until a run has ended.
fn operations(runtime: &str, make: Make, lends: bool) -> Result<(), Box<dyn Error>> {
    // A run of so many calls.
    let run = |map: &Arc<dyn Map>, n: u64| {
        if lends && n.is_multiple_of(CALLS) {
            map.end_run();
            map.begin_run();
        }
    };
    macro_rules! calls {
        ($name:expr, $map:expr, |$m:ident, $n:ident| $body:expr) => {{
            let map = $map;
            map.begin_run();
            let call = |$n: u64| {
                run(&map, $n);
                let $m = &*map;
                $body
            };
            print_calls(runtime, $name, call, || ());
        }};
    }
    macro_rules! keyed {
        ($suffix:literal, $kind:expr, $word:ty, $words:literal) => {{
            let size = (size_of::<$word>() * $words) as u32;
            calls!(concat!($suffix, "_lookup"), filled(make, $kind, size)?, |map, n| {
                look_up(map, Words::<$word, $words>::new(key(n) as $word).bytes())
            });
            calls!(concat!($suffix, "_update"), filled(make, $kind, size)?, |map, n| {
                update(map, Words::<$word, $words>::new(key(n) as $word).bytes(), n)
            });
        }};
    }
    keyed!("array", MapKind::Array, u32, 1);
    keyed!("hash4", MapKind::Hash, u32, 1);
    keyed!("hash8", MapKind::Hash, u32, 2);
    keyed!("hash16", MapKind::Hash, u64, 2);
    keyed!("lru", MapKind::LruHash, u32, 1);
    calls!("hash4_miss", make(spec(MapKind::Hash, 4, ENTRIES))?, |map, n| look_up(
        map,
        Words::<u32, 1>::new(key(n) as u32).bytes()
    ));
    calls!("hash4_ins_del", make(spec(MapKind::Hash, 4, ENTRIES))?, |map, n| {
        let key = Words::<u32, 1>::new(key(n) as u32);
        update(map, key.bytes(), n) + u64::from(map.delete(key.bytes()).is_ok())
    });
    calls!("lru_evict", make(spec(MapKind::LruHash, 4, ENTRIES))?, |map, n| {
        update(map, Words::<u32, 1>::new(black_box(n) as u32).bytes(), n)
    });
    calls!("queue_push_pop", make(spec(MapKind::Queue, 0, ENTRIES))?, |map, n| {
        let mut value = Words::<u64, 1>::new(n);
        let pushed = map.push(value.bytes(), 0);
        // SAFETY: the eight bytes of the value.
        let out = unsafe { BytesMut::from_raw(value.0.as_mut_ptr().cast(), 8) };
        (pushed, map.pop(out, true), value.0[0])
    });
    let ring = make(spec(MapKind::RingBuf, 0, RING))?;
    let record = [7_u8; RECORD];
    let write = |_| {
        let Ok(place) = ring.reserve(RECORD as u64) else { return false };
        // SAFETY: a reserved record of as many bytes.
        unsafe { std::ptr::copy_nonoverlapping(black_box(&record).as_ptr(), place.as_ptr(), RECORD) };
        ring.commit(place.as_ptr() as u64, 0, false).is_ok()
    };
    let mut out = Vec::new();
    print_calls(runtime, "rb_reserve", write, || {
        while ring.consume_user(&mut out).is_ok_and(|found| found) {
            out.clear();
        }
    });
    Ok(())
}

/// The same on a vector, on hashbrown's table with the same hash function, and on a deque.
fn native() {
    print_calls("native", "base", key, || ());
    let mut array = vec![1_u64; KEYS as usize];
    print_calls("native", "array_lookup", |n| array.get(key(n) as usize).copied(), || ());
    let write = |n| {
        if let Some(value) = array.get_mut(key(n) as usize) {
            *value = n;
        }
    };
    print_calls("native", "array_update", write, || ());
    macro_rules! table {
        ($suffix:literal, $key:ty) => {{
            let mut table: HashMap<$key, u64, FixedState> =
                HashMap::with_capacity_and_hasher(ENTRIES as usize, FixedState::with_seed(0));
            table.extend((0..KEYS).map(|n| (n as $key, 1)));
            print_calls("native", concat!($suffix, "_lookup"), |n| table.get(&(key(n) as $key)).copied(), || ());
            print_calls("native", concat!($suffix, "_update"), |n| table.insert(key(n) as $key, n), || ());
        }};
    }
    table!("hash4", u32);
    table!("hash8", u64);
    table!("hash16", u128);
    let mut table: HashMap<u32, u64, FixedState> =
        HashMap::with_capacity_and_hasher(ENTRIES as usize, FixedState::with_seed(0));
    print_calls("native", "hash4_miss", |n| table.get(&(key(n) as u32)).copied(), || ());
    let insert_and_delete = |n| {
        let key = key(n) as u32;
        (table.insert(key, n), table.remove(&key))
    };
    print_calls("native", "hash4_ins_del", insert_and_delete, || ());
    let mut queue = VecDeque::with_capacity(ENTRIES as usize);
    let push_and_pop = |n| {
        queue.push_back(black_box(n));
        queue.pop_front()
    };
    print_calls("native", "queue_push_pop", push_and_pop, || ());
}

/// Numbers below `below` in an order that no prefetcher guesses.
#[inline(always)]
fn scattered(n: u64, below: u32) -> u64 {
    ((n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * u64::from(below)) >> 32
}

fn entries(make: Make) -> Result<(), Box<dyn Error>> {
    for size in SIZES {
        let print = |runtime: &str, operation: &str, call: &mut dyn FnMut(u64) -> u64| {
            println!("entries {runtime} {operation} {size} {:.3}", time_calls(call, || ()).0 / CALLS as f64);
        };
        let hash = make(spec(MapKind::Hash, 8, size))?;
        let lru = make(spec(MapKind::LruHash, 8, size))?;
        let mut table: HashMap<u64, u64, FixedState> =
            HashMap::with_capacity_and_hasher(size as usize, FixedState::with_seed(0));
        for n in 0..u64::from(size) {
            for map in [&hash, &lru] {
                map.update_user(&n.to_le_bytes(), &1_u64.to_le_bytes(), 0)?;
            }
            table.insert(n, 1);
        }
        let words = |n: u64| Words::<u64, 1>::new(n);
        let key = |n| scattered(n, size);
        print("axebpf", "lookup", &mut |n| look_up(&*hash, words(key(n)).bytes()));
        print("axebpf", "update", &mut |n| update(&*hash, words(key(n)).bytes(), n));
        print("axebpf", "delete+insert", &mut |n| {
            let key = words(key(n));
            let gone = hash.delete(key.bytes());
            u64::from(gone.is_ok()) + update(&*hash, key.bytes(), n)
        });
        let first = u64::from(size);
        print("axebpf", "lru_evict", &mut |n| update(&*lru, words(first + n).bytes(), n));
        print("native", "lookup", &mut |n| table.get(&key(n)).copied().unwrap_or(0));
        print("native", "update", &mut |n| table.insert(key(n), n).unwrap_or(0));
        print("native", "delete+insert", &mut |n| {
            let gone = table.remove(&key(n));
            gone.unwrap_or(0) + table.insert(key(n), n).unwrap_or(0)
        });
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|arg| arg == "--entries") {
        return entries(alone);
    }
    native();
    operations("axebpf", alone, false)?;
    operations("axebpf-shared", shared, false)?;
    #[cfg(feature = "axvisor")]
    operations("kbpf-basic", |spec| Ok(axebpf_core::axvisor::create_map(spec)?), true)?;
    Ok(())
}
