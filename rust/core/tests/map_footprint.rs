//! What maps ask the allocator for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod map_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use axebpf_core::map::{BPF_F_NO_PREALLOC, MapKind};
use map_support::map;

/// The system's allocator, which counts what each thread has.
struct Counting;

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    BYTES.set(BYTES.get() + bytes);
}

// SAFETY: every call goes on to the system's allocator as it is; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller answers for it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller answers for it.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller answers for it.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller answers for it.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MILLION: u32 = 1_000_000;
/// What a hash of a million keys and values of 8 bytes may take; Linux's takes 81 MB.
const LIMIT: isize = 48_000_000;

#[test]
fn a_hash_of_a_million_entries_stays_within_48_megabytes() {
    for flags in [0, BPF_F_NO_PREALLOC] {
        let before = BYTES.get();
        let hash = map(MapKind::Hash, 8, 8, MILLION, flags);
        let put = |n: u64| hash.update_user(&n.to_le_bytes(), &n.to_le_bytes(), 0).unwrap();
        (0..u64::from(MILLION)).for_each(put);
        // Entries that come and go take no more.
        for n in 0..u64::from(MILLION) {
            hash.delete_user(&n.to_le_bytes()).unwrap();
            put(n + u64::from(MILLION));
        }
        assert_eq!(hash.len(), MILLION as usize);
        let taken = BYTES.get() - before;
        assert!((32_000_000..LIMIT).contains(&taken), "flags {flags}: {taken} bytes");
        drop(hash);
        assert_eq!(BYTES.get(), before);
    }
}
