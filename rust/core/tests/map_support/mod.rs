//! What the map tests share: short specs and a seeded generator.
#![allow(dead_code, unused_imports)] // each test binary uses its part

#[path = "../random/mod.rs"]
mod random;

use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{Map, MapKind, MapSpec, create};
pub use random::Random;

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
