//! Maps of maps: an array and a hash whose values are maps, all of one shape.
//!
//! The bpf(2) side puts maps there by number and reads their numbers. A program looks one up and gets a map that it can
//! hand to helpers; its run keeps that map alive, whatever becomes of the entry.

use std::collections::HashMap;
use std::sync::Arc;

use crate::errno::Errno;
use crate::map::error::MapError;
use crate::map::hash::Hash;
use crate::map::kind::{BPF_F_INNER_MAP, BPF_F_RDONLY, BPF_F_WRONLY, MapKind, Rules, flag_text};
use crate::map::lock::Lock;
use crate::map::numbered::{self, NoObjects, Numbered, Objects, Refusal, no_memory, numbered_map};
use crate::map::{Creation, Entries, Holds, Map, MapSpec, Visit};
use crate::memory::{Bytes, Region, Window};

/// What the inner maps of a map of maps must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// A map that they must be like.
    pub template: MapSpec,
    /// Where its values have a spin lock.
    pub spin_lock: Option<u32>,
}

impl Shape {
    /// The shape that a map of `spec` asks for, given the map that is to be the template.
    pub(super) fn of_inner(spec: &MapSpec, inner: Option<&dyn Map>) -> Result<Option<Shape>, MapError> {
        let (map, kind) = (|| spec.name.clone(), spec.kind);
        match (kind.is_of_maps(), inner) {
            (false, None) => Ok(None),
            (false, Some(_)) => Err(MapError::NotOfMaps { map: map(), kind }),
            (true, None) => Err(MapError::NoInner { map: map(), kind }),
            // Linux has no rule by which two program arrays are alike.
            (true, Some(inner)) => match inner.spec().kind {
                inner if inner.is_of_maps() || inner == MapKind::ProgArray => {
                    Err(MapError::InnerKind { map: map(), inner })
                }
                _ => Ok(Some(Shape { template: inner.spec().clone(), spin_lock: inner.spin_lock() })),
            },
        }
    }

    /// What a map has that those of this shape do not, in words; none where it is one of them.
    ///
    /// What counts was measured on Linux 6.18: kind, sizes, spin lock, flags but for those of the bpf(2) side; of an array without
    /// `BPF_F_INNER_MAP` also the capacity, because programs have it built in there.
    #[must_use]
    pub fn misfit(&self, map: &dyn Map) -> Option<String> {
        let (template, lock, map) = (&self.template, map.spin_lock(), map.spec());
        let differs = |what, found: String, expected: String| {
            Some(format!("{what} of {} is {found}; this map takes maps with {expected}", map.name))
        };
        let permanent = |spec: &MapSpec| spec.flags & !(BPF_F_RDONLY | BPF_F_WRONLY);
        if map.kind != template.kind {
            return differs("the kind", map.kind.name().to_owned(), template.kind.name().to_owned());
        }
        let fixed = map.kind == MapKind::Array && permanent(template) & BPF_F_INNER_MAP == 0;
        for (what, found, expected) in [
            ("the key size", map.key_size, template.key_size),
            ("the value size", map.value_size, template.value_size),
            ("max_entries", map.max_entries, if fixed { template.max_entries } else { map.max_entries }),
        ] {
            if found != expected {
                let hint = if what == "max_entries" { ", or any with BPF_F_INNER_MAP on all of them" } else { "" };
                return differs(what, found.to_string(), format!("{expected}{hint}"));
            }
        }
        let (found, expected) = (permanent(map), permanent(template));
        if found != expected {
            return differs("the flags", flag_text(found), flag_text(expected));
        }
        if lock != self.spin_lock {
            let place = |lock: Option<u32>| lock.map_or("nowhere".to_owned(), |at| format!("at byte {at}"));
            return differs("the bpf_spin_lock in the value", place(lock), format!("one {}", place(self.spin_lock)));
        }
        None
    }

    /// The map of a number, if it is of this shape.
    fn find(&self, number: u32, objects: &dyn Objects) -> Result<Inner, Refusal> {
        let map = objects.map(number)?;
        match self.misfit(&*map) {
            None => Ok(Inner { number, map }),
            why => Err(Refusal { errno: Errno::EINVAL, why }),
        }
    }
}

/// A map in a map.
#[derive(Clone)]
pub struct Inner {
    /// Its number.
    pub number: u32,
    /// The map.
    pub map: Arc<dyn Map>,
}

/// A map of maps, of either kind.
pub trait OfMaps: Map {
    /// What its maps are like.
    fn shape(&self) -> &Shape;

    /// The map of a key.
    fn inner(&self, key: Bytes<'_>) -> Option<Inner>;
}

/// An array of maps.
pub(super) struct ArrayOfMaps {
    array: Numbered<Inner>,
    shape: Shape,
}

impl ArrayOfMaps {
    pub(super) fn new(spec: MapSpec, shape: Shape) -> ArrayOfMaps {
        ArrayOfMaps { array: Numbered::new(spec), shape }
    }
}

impl OfMaps for ArrayOfMaps {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn inner(&self, key: Bytes<'_>) -> Option<Inner> {
        self.array.with(key.as_u32()?, Inner::clone)
    }
}

no_memory!(ArrayOfMaps);

impl Map for ArrayOfMaps {
    numbered_map!();

    /// Its maps too.
    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it, and for the maps that are in it.
        unsafe {
            self.array.set_alone(alone);
            self.array.each(|inner| inner.map.set_alone(alone));
        }
    }

    fn len(&self) -> usize {
        self.array.len()
    }

    fn holds(&self) -> Holds<'_> {
        Holds::Maps(self)
    }

    fn update_by_number(&self, key: &[u8], value: &[u8], flags: u64, objects: &dyn Objects) -> Result<(), Refusal> {
        // What was there is dropped here, with no lock held.
        self.array.update(key, value, flags, |number| self.shape.find(number, objects)).map(drop)
    }

    fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.array.lookup(key, flags, out, |inner| inner.number)
    }

    fn walk_user(&self, from: Option<&[u8]>, count: u32, _remove: bool, out: &mut Entries) -> Result<(), Errno> {
        self.array.walk(from, count, out, |inner| inner.number)
    }

    fn dump_user(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.array.dump(keys, values, |inner| inner.number)
    }
}

/// Maps by number, each with how many keys have it.
type KeyCounts = HashMap<u32, (Arc<dyn Map>, usize)>;

/// A hash of maps: a hash of their numbers, and the maps of the numbers that are in it.
pub(super) struct HashOfMaps {
    numbers: Hash,
    shape: Shape,
    /// Each map that is in it.
    maps: Lock<KeyCounts>,
}

impl HashOfMaps {
    pub(super) fn new(spec: MapSpec, shape: Shape, rules: Rules) -> Result<HashOfMaps, Errno> {
        Ok(HashOfMaps { numbers: Hash::new(spec, 1, rules, &Creation::default())?, shape, maps: Lock::default() })
    }

    /// The number at a key, whatever flags say of reading.
    fn number(&self, key: Bytes<'_>) -> Option<u32> {
        let value = self.numbers.lookup(0, key)?;
        // SAFETY: a value of the hash, four bytes on a boundary of eight, which stay its memory while it lives.
        Some(u32::from_le_bytes(unsafe { value.cast::<[u8; 4]>().read() }))
    }
}

/// One key less has this map; the last one gives it back.
fn release(maps: &mut KeyCounts, number: u32) -> Option<Arc<dyn Map>> {
    let (_, keys) = maps.get_mut(&number)?;
    *keys -= 1;
    if *keys > 0 { None } else { maps.remove(&number).map(|(map, _)| map) }
}

impl OfMaps for HashOfMaps {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn inner(&self, key: Bytes<'_>) -> Option<Inner> {
        let maps = self.maps.lock();
        let number = self.number(key)?;
        maps.get(&number).map(|(map, _)| Inner { number, map: map.clone() })
    }
}

no_memory!(HashOfMaps);

impl Map for HashOfMaps {
    fn spec(&self) -> &MapSpec {
        self.numbers.spec()
    }

    /// Its maps too.
    unsafe fn set_alone(&self, alone: bool) {
        // SAFETY: the caller answers for it, and for the maps that are in it.
        unsafe {
            self.maps.set_alone(alone);
            self.numbers.set_alone(alone);
            self.maps.lock().values().for_each(|(map, _)| map.set_alone(alone));
        }
    }

    fn holds(&self) -> Holds<'_> {
        Holds::Maps(self)
    }

    fn for_each(&self, _cpu: u32, _visit: &mut Visit<'_>) -> Result<u64, Errno> {
        Err(Errno::EINVAL)
    }

    fn lookup_user(&self, key: &[u8], flags: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.numbers.lookup_user(key, flags, out)
    }

    fn update_user(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.update_by_number(key, value, flags, &NoObjects).map_err(|refusal| refusal.errno)
    }

    fn update_by_number(&self, key: &[u8], value: &[u8], flags: u64, objects: &dyn Objects) -> Result<(), Refusal> {
        // Permission comes before the number, and the number before the flags.
        self.numbers.may_update(flags)?;
        let Inner { number, map } = self.shape.find(numbered::number(value)?, objects)?;
        let mut maps = self.maps.lock();
        maps.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let old = self.number(Bytes::from(key));
        self.numbers.update_user(key, value, flags)?;
        maps.entry(number).or_insert((map, 0)).1 += 1;
        let gone = old.and_then(|old| release(&mut maps, old));
        drop(maps);
        drop(gone);
        Ok(())
    }

    fn delete_user(&self, key: &[u8]) -> Result<(), Errno> {
        let mut maps = self.maps.lock();
        let old = self.number(Bytes::from(key));
        self.numbers.delete_user(key)?;
        let gone = old.and_then(|old| release(&mut maps, old));
        drop(maps);
        drop(gone);
        Ok(())
    }

    fn lookup_and_delete_user(&self, _key: &[u8], flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        self.numbers.may_take(flags)?;
        Err(Errno::ENOTSUPP)
    }

    fn next_key_user(&self, key: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.numbers.next_key_user(key, out)
    }

    fn begin_batch_user(&self, read: bool, write: bool) -> Result<(), Errno> {
        self.numbers.begin_batch_user(read, write)
    }

    /// Linux has no `lookup_and_delete_user` for it, but takes entries out in batches.
    fn walk_user(&self, from: Option<&[u8]>, count: u32, remove: bool, out: &mut Entries) -> Result<(), Errno> {
        let mut maps = self.maps.lock();
        let before = out.values.len();
        let result = self.numbers.walk_user(from, count, remove, out);
        let taken = if remove { out.values.get(before..).unwrap_or_default() } else { &[] };
        let numbers = taken.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number));
        let gone: Vec<_> = numbers.filter_map(|number| release(&mut maps, number)).collect();
        drop(maps);
        drop(gone);
        result
    }

    fn freeze(&self) -> Result<(), Errno> {
        self.numbers.freeze()
    }

    fn dump_user(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<usize, Errno> {
        self.numbers.dump_user(keys, values)
    }

    fn len(&self) -> usize {
        self.numbers.len()
    }
}
