//! Maps of maps give up what is taken out of them. What Linux answers is compared in `map_oracle`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod map_support;

use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{
    Entries, Map, MapKind, Objects, create, create_with, delete_batch, lookup_and_delete_batch, update_batch_by_number,
};
use axebpf_core::program::ProgramType;
use map_support::spec;

/// Maps by their place.
struct Maps(Vec<Arc<dyn Map>>);

impl Objects for Maps {
    fn map(&self, number: u32) -> Result<Arc<dyn Map>, Errno> {
        self.0.get(number as usize).cloned().ok_or(Errno::EBADF)
    }

    fn program(&self, _number: u32) -> Result<(Option<ProgramType>, String), Errno> {
        Err(Errno::EBADF)
    }
}

/// A way to take all that is there out of a map, which has the keys 0, 1 and 2.
type TakeOut = fn(&dyn Map);

const WAYS: [TakeOut; 3] = [
    |map| {
        let mut out = Entries::default();
        assert_eq!(lookup_and_delete_batch(map, None, 3, 0, &mut out), Err(Errno::ENOENT));
        assert_eq!(out.count, 3);
    },
    |map| {
        assert_eq!(
            delete_batch(map, &[[0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]].each_ref().map(|key| &key[..]), 0),
            Ok(())
        )
    },
    |map| (0..3_u32).for_each(|key| map.delete_user(&key.to_le_bytes()).unwrap()),
];

#[test]
fn a_map_that_is_taken_out_is_not_kept() {
    for take_out in WAYS {
        let maps = Maps((0..2).map(|_| create(spec(MapKind::Array, 4, 8, 4, 0), 1).unwrap()).collect());
        let outer = create_with(spec(MapKind::HashOfMaps, 4, 4, 8, 0), 1, Some(&*maps.0[0])).unwrap();
        let keys = [0_u32, 1, 2].map(u32::to_le_bytes);
        let numbers = [0_u32, 1, 0].map(u32::to_le_bytes);
        let entries: Vec<_> = keys.iter().zip(&numbers).map(|(key, number)| (&key[..], &number[..])).collect();
        assert_eq!(update_batch_by_number(&*outer, &entries, 0, &maps), Ok(()));
        assert_eq!(
            maps.0.iter().map(Arc::strong_count).collect::<Vec<_>>(),
            [2, 2],
            "one for each map, however many keys"
        );
        take_out(&*outer);
        assert_eq!(outer.len(), 0);
        assert_eq!(maps.0.iter().map(Arc::strong_count).collect::<Vec<_>>(), [1, 1]);
    }
}
