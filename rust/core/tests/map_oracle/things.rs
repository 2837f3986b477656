//! Maps and programs that both sides have, to be put into maps of maps and program arrays.

use std::sync::Arc;

use axebpf_core::errno::Errno;
use axebpf_core::map::{Map, MapSpec, Objects, create};
use axebpf_core::program::ProgramType;

use crate::kernel::{self, KernelMap, Program, RAW_TRACEPOINT, XDP};
use crate::map_support::Random;

/// A number, and a descriptor, that nothing has.
const NOTHING: (u32, i32) = (1000, 9999);

/// Maps and programs that both sides have: ours by their place, theirs by descriptor.
#[derive(Default)]
pub struct Things {
    pub maps: Vec<(Arc<dyn Map>, KernelMap)>,
    pub programs: Vec<(ProgramType, Program)>,
}

impl Objects for Things {
    fn map(&self, number: u32) -> Result<Arc<dyn Map>, Errno> {
        self.maps.get(number as usize).map(|(map, _)| map.clone()).ok_or(Errno::EBADF)
    }

    fn program(&self, number: u32) -> Result<(Option<ProgramType>, String), Errno> {
        self.programs.get(number as usize).map(|(of, _)| (Some(*of), String::new())).ok_or(Errno::EBADF)
    }
}

impl Things {
    pub fn with_maps(specs: &[MapSpec]) -> Things {
        let both = |spec: &MapSpec| (create(spec.clone(), 1).unwrap(), KernelMap::create(spec, 1).unwrap());
        Things { maps: specs.iter().map(both).collect(), programs: Vec::new() }
    }

    pub fn with_programs() -> Things {
        let exit = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
        let of = |ours, theirs| (ours, Program::load_as(theirs, &exit).unwrap());
        let raw = (ProgramType::RawTracepoint, RAW_TRACEPOINT);
        let programs = [raw, raw, (ProgramType::Xdp, XDP)].map(|(ours, theirs)| of(ours, theirs));
        Things { maps: Vec::new(), programs: programs.into() }
    }

    /// A number and the descriptor of the same thing; now and then of nothing.
    pub fn pick(&self, random: &mut Random) -> (u32, i32) {
        let count = self.maps.len() + self.programs.len();
        let place = random.below(count as u64 + 1) as usize;
        match (self.maps.get(place), self.programs.get(place)) {
            (Some((_, map)), _) => (place as u32, map.fd()),
            (_, Some((_, program))) => (place as u32, program.fd()),
            _ => NOTHING,
        }
    }

    /// The place of the thing whose id the kernel gave.
    pub fn place_of(&self, id: &[u8]) -> Vec<u8> {
        let id = u32::from_le_bytes(id.try_into().unwrap());
        let maps = self.maps.iter().map(|(_, map)| map.fd());
        let mut fds = maps.chain(self.programs.iter().map(|(_, program)| program.fd()));
        let place = fds.position(|fd| kernel::id_of(fd) == id).expect("one that was put there");
        (place as u32).to_le_bytes().to_vec()
    }
}
