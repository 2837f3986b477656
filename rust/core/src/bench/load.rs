//! Objects and raw instructions into a bench.

use std::sync::Arc;

use super::{Bench, BenchError, BenchMap, BenchProgram, Target, known_maps};
use crate::engine::EngineError;
use crate::helper::CUSTOM_HELPERS;
use crate::isa::{Insn, Op, decode};
use crate::map::{MapKind, MapSet};
use crate::nearest::nearest;
use crate::object::Object;
use crate::program::{Program, ProgramType, Subprogram};

/// What a load changes of its object.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Values of global variables, by name, as bytes.
    pub globals: Vec<(String, Vec<u8>)>,
    /// Capacities of maps, by name.
    pub max_entries: Vec<(String, u32)>,
    /// Types of programs, by name: for sections that name none.
    pub types: Vec<(String, String)>,
    /// The programs to load; none for all that the object does not leave out itself.
    pub only: Option<Vec<String>>,
}

/// What a load has made: numbers of programs and maps.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Programs, in the object's order.
    pub programs: Vec<usize>,
    /// Maps, in the object's order, data sections among them.
    pub maps: Vec<usize>,
}

impl Bench {
    /// Creates the maps of an object and loads its programs.
    ///
    /// # Errors
    /// [`BenchError::NoSuch`] and [`BenchError::WrongSize`] for options that do not fit the object,
    /// [`BenchError::GlobalLost`] for values that AxVisor's loader would drop,
    /// [`BenchError::Map`] and [`BenchError::UnknownMapKind`] for maps that cannot be created, [`BenchError::Entry`] for
    /// what cannot be put into them, [`BenchError::Load`], [`BenchError::Engine`], [`BenchError::ProgArrayType`] and
    /// [`BenchError::SpinLockType`] for the first program that cannot be loaded; of what target axvisor refuses,
    /// [`BenchError::RefusedMap`] and [`BenchError::Refused`]. Then nothing of the object is loaded.
    pub fn load(&self, object: &Object, options: &LoadOptions) -> Result<Loaded, BenchError> {
        check_names(object, options)?;
        if let (Target::Axvisor, Some((name, _))) = (self.options.target, options.globals.first()) {
            return Err(BenchError::GlobalLost { object: object.file.clone(), name: name.clone() });
        }
        let load = self.loads.get();
        let maps = self.object_maps(object, options, load)?;
        let set = |names: &[String], program: &str| -> Result<MapSet, BenchError> {
            let find = |name: &String| maps.iter().find(|map| map.map.spec().name == *name).map(|map| map.map.clone());
            let missing = |map: &String| BenchError::MissingMap { program: program.to_owned(), map: map.clone() };
            names.iter().map(|name| find(name).ok_or_else(|| missing(name))).collect::<Result<_, _>>().map(MapSet)
        };
        let mut programs = Vec::new();
        for program in &object.programs {
            let wanted = match &options.only {
                Some(only) => only.contains(&program.name),
                None => program.autoload,
            };
            if !wanted {
                continue;
            }
            let mut linked = program.program.clone()?;
            if let Some((_, name)) = options.types.iter().find(|(of, _)| *of == program.name) {
                linked.program_type = Some(program_type(name, &object.file)?);
            }
            let maps = set(&linked.maps, &linked.name)?;
            programs.push(self.engine(Arc::new(linked), maps, Some(load))?);
        }

        self.fill(object, &maps, &programs)?;

        // From here on nothing can fail, so that a refused object leaves nothing behind.
        self.loads.set(load + 1);
        Ok(Loaded {
            maps: maps.into_iter().map(|map| self.add_map(map)).collect(),
            programs: programs.into_iter().map(|program| self.add_program(program)).collect(),
        })
    }

    fn object_maps(&self, object: &Object, options: &LoadOptions, load: usize) -> Result<Vec<BenchMap>, BenchError> {
        let mut maps = Vec::with_capacity(object.maps.len());
        for def in &object.maps {
            let mut spec = def.spec()?;
            if let Some((_, entries)) = options.max_entries.iter().find(|(name, _)| *name == def.name) {
                spec.max_entries = *entries;
            }
            if spec.kind == MapKind::PerfEventArray && spec.max_entries == 0 {
                spec.max_entries = self.options.cpus; // libbpf's way to say one for each CPU
            }
            let inner = match &def.inner {
                Some(inner) => Some(self.options.create_map(inner.spec()?, None, inner.spin_lock)?),
                None => None,
            };
            let map = self.options.create_map(spec, inner.as_deref(), def.spin_lock)?;
            // AxVisor's loader makes the maps of data sections and drops what is in them.
            let drops = self.options.target == Target::Axvisor;
            if let (Some(initial), false) = (&def.initial, drops) {
                let mut initial = initial.clone();
                for global in object.globals().iter().filter(|global| global.map == def.name) {
                    if let Some((_, value)) = options.globals.iter().find(|(name, _)| *name == global.name) {
                        let (start, size) = (global.offset as usize, global.size as usize);
                        if let Some(place) = initial.get_mut(start..start + size) {
                            place.copy_from_slice(value);
                        }
                    }
                }
                map.update_user(&[0; 4], &initial, 0)?;
            }
            if def.frozen && !drops {
                map.freeze()?;
            }
            maps.push(BenchMap::new(map, Some(load), (def.key_type, def.value_type)));
        }
        Ok(maps)
    }

    /// Loads raw instructions; `maps` gives the map for each descriptor that `lddw` instructions name.
    ///
    /// # Errors
    /// [`BenchError::Engine`] for instructions that cannot be, [`BenchError::NoSuch`] for an unknown type,
    /// [`BenchError::MissingMap`] for a descriptor without a map, [`BenchError::ProgArrayType`],
    /// [`BenchError::SpinLockType`].
    pub fn load_bytes(
        &self,
        name: &str,
        code: &[u8],
        type_name: &str,
        license: &str,
        maps: &[(i32, usize)],
    ) -> Result<usize, BenchError> {
        let (slots, rest) = code.as_chunks::<8>();
        let mut insns: Vec<Insn> = slots.iter().map(|slot| Insn::from_bytes(*slot)).collect();
        if !rest.is_empty() {
            return Err(BenchError::CodeLength { program: name.to_owned(), bytes: code.len() });
        }
        let mut set = MapSet::default();
        let mut names = Vec::new();
        for (_, index) in maps {
            let map = self.map(*index).ok_or_else(|| BenchError::MissingMap {
                program: name.to_owned(),
                map: format!("number {index} (taken out of the bench)"),
            })?;
            names.push(map.map.spec().name.clone());
            set.0.push(map.map.clone());
        }
        link_descriptors(name, &mut insns, maps)?;
        let program = Program {
            name: name.to_owned(),
            section: String::new(),
            program_type: Some(program_type(type_name, name)?),
            target: None,
            insns,
            maps: names,
            subprograms: vec![Subprogram { name: name.to_owned(), start: 0 }],
            lines: Vec::new(),
            license: license.to_owned(),
        };
        Ok(self.add_program(self.engine(Arc::new(program), set, None)?))
    }

    /// Loads a program once more: the same instructions on the same maps, with a number and counters of its own.
    ///
    /// # Errors
    /// [`BenchError::NoProgram`] where it is gone.
    pub fn load_again(&self, index: usize) -> Result<usize, BenchError> {
        let of =
            self.programs.get(index).filter(|of| of.runnable().is_some()).ok_or(BenchError::NoProgram { index })?;
        Ok(self.add_program(self.engine(of.program().clone(), of.maps(), of.object)?))
    }

    fn engine(&self, program: Arc<Program>, maps: MapSet, object: Option<usize>) -> Result<BenchProgram, BenchError> {
        let made = self.options.make_ready(program.clone(), maps.clone());
        let runnable = made.map_err(|source| self.options.refused(&program, source))?;
        let has = |id| self.helpers.borrow().as_ref().is_some_and(|helpers| helpers.has(id));
        if let Some((insn, id)) = custom_calls(&program).find(|(_, id)| !has(*id)) {
            let what = format!("helper {id:#x}, which this bench does not have; define it with @bench.helper first");
            return Err(self.options.refused(&program, EngineError::Unsupported { insn, what }));
        }
        if self.options.target == Target::Linux {
            known_maps::check(&program, &maps).map_err(|source| self.options.refused(&program, source))?;
        }
        Bench::admit(&program, &maps)?;
        let runs_as = self.options.runs_as(program.program_type);
        Ok(BenchProgram::new(program, runs_as, runnable, maps, object))
    }

    fn add_program(&self, program: BenchProgram) -> usize {
        self.programs.push(Box::new(program));
        self.programs.len() - 1
    }
}

/// The instructions of a program that call helpers of the user's, and the ids of those.
pub(super) fn custom_calls(program: &Program) -> impl Iterator<Item = (usize, u32)> {
    program.insns.iter().enumerate().filter_map(|(insn, slot)| match decode(&[*slot], 0) {
        Ok((Op::CallHelper { id }, _)) if id >= CUSTOM_HELPERS => Some((insn, id)),
        _ => None,
    })
}

fn program_type(name: &str, of: &str) -> Result<ProgramType, BenchError> {
    ProgramType::from_name(name)
        .ok_or_else(|| no_such(of, "program type", name, ProgramType::ALL.map(|(_, name)| name)))
}

/// Descriptors in `lddw` instructions become slots.
fn link_descriptors(program: &str, insns: &mut [Insn], maps: &[(i32, usize)]) -> Result<(), BenchError> {
    use crate::isa::opcode::{class, imm64, mode};
    let lddw = class::LD | mode::IMM | crate::isa::Size::Double.code();
    let mut at = 0;
    while at < insns.len() {
        let insn = &mut insns[at];
        if insn.code == lddw {
            if matches!(insn.src, imm64::MAP_FD | imm64::MAP_VALUE) {
                let slot = maps.iter().position(|(fd, _)| *fd == insn.imm).and_then(|slot| i32::try_from(slot).ok());
                insn.imm = slot.ok_or_else(|| BenchError::MissingMap {
                    program: program.to_owned(),
                    map: format!("with the descriptor {} (instruction {at})", insn.imm),
                })?;
            }
            at += 1;
        }
        at += 1;
    }
    Ok(())
}

/// Every name in the options is one of the object's, and values have the size of their variable.
fn check_names(object: &Object, options: &LoadOptions) -> Result<(), BenchError> {
    let file = object.file.as_str();
    for (name, value) in &options.globals {
        let globals = object.globals();
        let Some(global) = globals.iter().find(|global| global.name == *name) else {
            return Err(no_such(file, "global variable", name, globals.iter().map(|global| global.name.as_str())));
        };
        if global.size as usize != value.len() {
            let (expected, found) = (global.size as usize, value.len());
            return Err(BenchError::WrongSize { name: name.clone(), expected, found });
        }
    }
    for (name, _) in &options.max_entries {
        if !object.maps.iter().any(|map| map.name == *name) {
            return Err(no_such(file, "map", name, object.maps.iter().map(|map| map.name.as_str())));
        }
    }
    let programs = options.types.iter().map(|(name, _)| name).chain(options.only.iter().flatten());
    for name in programs {
        if !object.programs.iter().any(|program| program.name == *name) {
            return Err(no_such(file, "program", name, object.programs.iter().map(|program| program.name.as_str())));
        }
    }
    Ok(())
}

fn no_such<'a>(object: &str, what: &'static str, name: &str, valid: impl IntoIterator<Item = &'a str>) -> BenchError {
    BenchError::NoSuch {
        object: object.to_owned(),
        what,
        name: name.to_owned(),
        nearest: nearest(name, valid.into_iter()),
    }
}
