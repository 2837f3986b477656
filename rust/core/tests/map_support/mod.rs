//! What the map tests share: short specs and a seeded generator.
#![allow(dead_code)] // each test binary uses its part

use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{Map, MapKind, MapSpec, create};

/// A spec named `M`.
pub fn spec(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> MapSpec {
    MapSpec { name: "M".to_owned(), kind, key_size, value_size, max_entries, flags, extra: 0 }
}

/// A map named `M` for two CPUs.
pub fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> Arc<dyn Map> {
    create(spec(kind, key_size, value_size, max_entries, flags), 2).expect("a valid spec")
}

/// `lookup_user` as a value.
pub fn get(map: &dyn Map, key: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    map.lookup_user(key, 0, &mut out).map(|()| out)
}

/// All keys, by `next_key_user`.
pub fn walk(map: &dyn Map) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut next = Vec::new();
        match map.next_key_user(keys.last().map(Vec::as_slice), &mut next) {
            Ok(()) => keys.push(next),
            Err(errno) => {
                assert_eq!(errno, Errno::ENOENT);
                return keys;
            }
        }
    }
}

/// SplitMix64: the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
