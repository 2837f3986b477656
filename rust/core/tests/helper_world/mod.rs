//! A small world for helpers to work on: a host, a map, a callback, and memory to point at.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod formats;

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use axebpf_core::errno::Errno;
use axebpf_core::fault::Fault;
use axebpf_core::helper::{self, Code, Host, MAP_HANDLE_STRIDE, MAP_HANDLES, Run, Task, VmContext};
use axebpf_core::map::{Map, MapKind, MapSet, MapSpec, Visit};
use axebpf_core::memory::{Arena, Bytes, BytesMut, FRAME, FRAMES, Memory, Region, Window};

/// Address of the guest memory that the host offers.
pub const GUEST: u64 = 0xffff_8800_0000_1000;
/// Address of the user memory that the host offers.
pub const USER: u64 = 0x1000;
/// What the guest memory holds.
pub const GUEST_BYTES: &[u8] = b"guest memory\0behind";

/// What the user memory holds.
pub const USER_BYTES: &[u8] = b"user string\0";

pub struct World {
    pub printed: RefCell<Vec<String>>,
    pub maps: MapSet,
    pub callback: Box<Callback>,
    context: Arena,
    stack: Arena,
}

pub type Callback = dyn Fn(&mut Run<'_>, [u64; 5]) -> Result<u64, Box<Fault>>;

impl World {
    pub fn new() -> World {
        World {
            printed: RefCell::default(),
            maps: MapSet::default(),
            callback: Box::new(|_, _| Ok(0)),
            context: Arena::new(8192).unwrap(),
            stack: Arena::new(FRAME as usize * FRAMES).unwrap(),
        }
    }

    pub fn with_map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> World {
        let mut world = World::new();
        world.maps.0.push(Arc::new(TestMap::new(kind, key_size, value_size, max_entries, flags)));
        world
    }

    /// Address of the program's memory, 8192 writable bytes.
    pub fn at(&self, offset: u64) -> u64 {
        self.context.address() + offset
    }

    /// Writes into the program's memory and returns where.
    pub fn put(&self, offset: u64, bytes: &[u8]) -> u64 {
        assert!(offset as usize + bytes.len() <= self.context.len());
        // SAFETY: inside the arena, to which nobody holds references.
        unsafe {
            let to = self.context.as_ptr().add(offset as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        self.at(offset)
    }

    /// Reads the program's memory.
    pub fn get(&self, offset: u64, len: usize) -> Vec<u8> {
        assert!(offset as usize + len <= self.context.len());
        // SAFETY: inside the arena, to which nobody writes meanwhile.
        unsafe { Bytes::from_raw(self.context.as_ptr().add(offset as usize), len) }.to_vec()
    }

    pub fn run<R>(&self, body: impl FnOnce(&mut Run<'_>) -> R) -> R {
        let window = |arena: &Arena| Window { start: arena.address(), len: arena.len() as u64, writable: true };
        // SAFETY: the arenas live as long as `self`, and nobody holds references into them.
        let memory =
            unsafe { Memory::new(window(&self.stack), window(&self.context), window(&self.context).start, &self.maps) };
        body(&mut Run {
            memory,
            maps: &self.maps,
            host: self,
            code: self,
            depth: 1,
            left: 1 << 20,
            calls: 0,
            budget: 1 << 20,
            pattern: 0,
            tail_calls: 0,
            inner: None,
        })
    }

    /// Calls one helper in a run of its own.
    pub fn call(&self, id: u32, args: &[u64]) -> Result<u64, Box<Fault>> {
        self.run(|run| call(run, id, args))
    }

    /// As `call`, for a helper that does not fault: its result as a signed number.
    pub fn value(&self, id: u32, args: &[u64]) -> i64 {
        self.call(id, args).unwrap() as i64
    }
}

/// Calls a helper by its row in the table.
pub fn call(run: &mut Run<'_>, id: u32, args: &[u64]) -> Result<u64, Box<Fault>> {
    let mut all = [0; 5];
    all[..args.len()].copy_from_slice(args);
    (helper::by_id(id).unwrap().implementation.as_ref().unwrap().run)(run, all)
}

/// The handle of a map as a program has it.
pub fn handle(slot: u64) -> u64 {
    MAP_HANDLES + slot * MAP_HANDLE_STRIDE
}

pub fn errno(errno: Errno) -> i64 {
    -i64::from(errno.0)
}

impl Host for World {
    fn now(&self) -> u64 {
        5_123_456_789
    }
    fn cpu(&self) -> u32 {
        1
    }
    fn cpus(&self) -> u32 {
        4
    }
    fn random(&self) -> u32 {
        0xdead_beef
    }
    fn task(&self) -> Task {
        Task { pid: 7, tgid: 5, uid: 1000, gid: 100, comm: *b"sixteen-bytes-xy" }
    }
    fn vm_context(&self) -> VmContext {
        VmContext { vm_id: 42, vcpu_id: 7, exit_reason: 0x1_0000_1234 }
    }
    fn print(&self, text: &str) {
        self.printed.borrow_mut().push(text.to_owned());
    }
    fn attach_cookie(&self) -> u64 {
        0xc00c1e
    }
    fn probe_read(&self, address: u64, out: &mut [u8]) -> Result<(), Errno> {
        let (memory, start) = if address < USER + 4096 { (USER_BYTES, USER) } else { (GUEST_BYTES, GUEST) };
        let from = address.wrapping_sub(start) as usize;
        let bytes = from.checked_add(out.len()).and_then(|end| memory.get(from..end)).ok_or(Errno::EFAULT)?;
        out.copy_from_slice(bytes);
        Ok(())
    }
    fn symbol(&self, address: u64) -> Option<String> {
        (address == 0xffff_ffff_8100_0004).then(|| "vcpu_run+0x4/0x20".to_owned())
    }
}

impl Code for World {
    fn call(&self, run: &mut Run<'_>, _target: u64, args: [u64; 5]) -> Result<u64, Box<Fault>> {
        (self.callback)(run, args)
    }
}

/// A map of a few slots, searched one by one; as a ring buffer, records of one slot each.
pub struct TestMap {
    spec: MapSpec,
    arena: Arena,
    /// Key of each used slot, oldest first for queues.
    slots: Mutex<Vec<Option<Vec<u8>>>>,
}

const CPUS: usize = 4;

/// A program has no way to these operations, so a helper that comes here fails its test.
const OUTSIDE: &str = "a helper called what only bpf(2) offers";

impl TestMap {
    pub fn new(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> TestMap {
        let spec = MapSpec { name: "TEST".into(), kind, key_size, value_size, max_entries, flags, extra: 0 };
        let arena = Arena::new(CPUS * (key_size + value_size) as usize * max_entries as usize).unwrap();
        TestMap { spec, arena, slots: Mutex::new(vec![None; max_entries as usize]) }
    }

    fn is_per_cpu(&self) -> bool {
        matches!(self.spec.kind, MapKind::PercpuHash | MapKind::PercpuArray)
    }

    fn value(&self, cpu: u32, slot: usize) -> NonNull<u8> {
        let cpu = if self.is_per_cpu() { cpu as usize } else { 0 };
        let index = cpu * self.spec.max_entries as usize + slot;
        // SAFETY: the arena holds a value for each CPU and slot.
        NonNull::new(unsafe { self.arena.as_ptr().add(index * self.spec.value_size as usize) }).unwrap()
    }

    fn take(&self, key: Bytes<'_>) -> Result<usize, Errno> {
        let mut slots = self.slots.lock().unwrap();
        let slot = slots.iter().position(Option::is_none).ok_or(Errno::E2BIG)?;
        slots[slot] = Some(key.to_vec());
        Ok(slot)
    }

    fn find(&self, key: Bytes<'_>) -> Option<usize> {
        let key = key.to_vec();
        self.slots.lock().unwrap().iter().position(|slot| slot.as_deref() == Some(&*key))
    }
}

impl Region for TestMap {
    fn window(&self, address: u64) -> Option<Window> {
        let size = self.spec.value_size as usize;
        let index = self.arena.offset_of(address)? / size;
        let slot = index % self.spec.max_entries as usize;
        self.slots.lock().unwrap()[slot].as_ref()?;
        let start = self.arena.address() + (index * size) as u64;
        Some(Window { start, len: size as u64, writable: true })
    }

    fn describe(&self, address: u64) -> Option<String> {
        let offset = self.arena.offset_of(address)?;
        let size = self.spec.value_size as usize;
        Some(format!("TEST[{}]+{}", offset / size, offset % size))
    }
}

impl Map for TestMap {
    fn spec(&self) -> &MapSpec {
        &self.spec
    }

    fn lookup(&self, cpu: u32, key: Bytes<'_>) -> Option<NonNull<u8>> {
        Some(self.value(cpu, self.find(key)?))
    }

    fn update(&self, cpu: u32, key: Bytes<'_>, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        let slot = match (self.find(key), flags) {
            (Some(_), 1) => return Err(Errno::EEXIST),
            (None, 2) => return Err(Errno::ENOENT),
            (Some(slot), 0 | 2) => slot,
            (None, 0 | 1) => self.take(key)?,
            _ => return Err(Errno::EINVAL),
        };
        // SAFETY: a value has as many bytes as the helper read.
        unsafe { value.copy_to(self.value(cpu, slot).as_ptr()) };
        Ok(())
    }

    fn delete(&self, key: Bytes<'_>) -> Result<(), Errno> {
        let slot = self.find(key).ok_or(Errno::ENOENT)?;
        self.slots.lock().unwrap()[slot] = None;
        Ok(())
    }

    fn push(&self, value: Bytes<'_>, _flags: u64) -> Result<(), Errno> {
        if self.spec.kind != MapKind::Queue {
            return Err(Errno::EINVAL);
        }
        let slot = self.take(Bytes::from(&[][..]))?;
        // SAFETY: as in `update`.
        unsafe { value.copy_to(self.value(0, slot).as_ptr()) };
        Ok(())
    }

    fn pop(&self, mut out: BytesMut<'_>, remove: bool) -> Result<(), Errno> {
        if self.spec.kind != MapKind::Queue {
            return Err(Errno::EINVAL);
        }
        let mut slots = self.slots.lock().unwrap();
        let Some(slot) = slots.iter().position(Option::is_some) else {
            out.zero_from(0);
            return Err(Errno::ENOENT);
        };
        let value = self.value(0, slot);
        // SAFETY: a value of the arena, and `out` is as long.
        unsafe { Bytes::from_raw(value.as_ptr(), out.len()).copy_to(out.as_mut_ptr()) };
        if remove {
            slots[slot] = None;
        }
        Ok(())
    }

    fn for_each(&self, cpu: u32, visit: &mut Visit<'_>) -> Result<u64, Errno> {
        if self.spec.kind == MapKind::Queue {
            return Err(Errno::EINVAL);
        }
        let mut visited = 0;
        for slot in 0..self.spec.max_entries as usize {
            let Some(key) = self.slots.lock().unwrap()[slot].clone() else { continue };
            visited += 1;
            if visit(Bytes::from(&key[..]), self.value(cpu, slot)) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(visited)
    }

    fn reserve(&self, size: u64) -> Result<NonNull<u8>, Errno> {
        if self.spec.kind != MapKind::RingBuf {
            return Err(Errno::EINVAL);
        }
        if size > self.spec.value_size.into() {
            return Err(Errno::E2BIG);
        }
        let slot = self.take(Bytes::from(&b"busy"[..])).map_err(|_| Errno::EAGAIN)?;
        Ok(self.value(0, slot))
    }

    fn commit(&self, record: u64, _flags: u64, _discard: bool) -> Result<(), Errno> {
        let index = self.arena.offset_of(record).ok_or(Errno::EINVAL)? / self.spec.value_size as usize;
        let mut slots = self.slots.lock().unwrap();
        match slots.get_mut(index) {
            Some(Some(state)) if state == b"busy" && self.spec.kind == MapKind::RingBuf => {
                slots[index] = None;
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn query(&self, what: u64) -> u64 {
        what * 100
    }

    fn lookup_user(&self, _key: &[u8], _flags: u64, _out: &mut Vec<u8>) -> Result<(), Errno> {
        unreachable!("{OUTSIDE}")
    }
    fn update_user(&self, _key: &[u8], _value: &[u8], _flags: u64) -> Result<(), Errno> {
        unreachable!("{OUTSIDE}")
    }
    fn delete_user(&self, _key: &[u8]) -> Result<(), Errno> {
        unreachable!("{OUTSIDE}")
    }
    fn next_key_user(&self, _key: Option<&[u8]>, _out: &mut Vec<u8>) -> Result<(), Errno> {
        unreachable!("{OUTSIDE}")
    }
    fn freeze(&self) -> Result<(), Errno> {
        unreachable!("{OUTSIDE}")
    }
    fn dump_user(&self, _keys: &mut Vec<u8>, _values: &mut Vec<u8>) -> Result<usize, Errno> {
        unreachable!("{OUTSIDE}")
    }
    fn len(&self) -> usize {
        self.slots.lock().unwrap().iter().flatten().count()
    }
}
