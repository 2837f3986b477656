//! Objects: what clang writes for `-target bpf`, read into programs and map definitions.
//!
//! What comes out is what libbpf would hand to the kernel, instruction by instruction, with map slots in place of
//! file descriptors. In addition to libbpf: programs in sections of any name, `static` functions there, `static`
//! maps, legacy `maps` sections, and data sections of any name. Pinning is kept but means nothing here.

mod data;
mod elf;
mod error;
mod function;
mod line;
mod link;
mod maps;
mod section_name;

use std::sync::Arc;

use crate::btf::{Btf, BtfExt, TypeLayout};
use crate::program::{Program, ProgramType};

pub use data::Global;
pub use error::{ExternKind, LoadError, LoadReason};
pub use maps::{MapDef, UnknownMapKind};
pub use section_name::SectionName;

/// Longest licence string, as in libbpf.
const MAX_LICENSE: usize = 63;

/// A loaded object.
#[derive(Clone, Debug)]
pub struct Object {
    /// The file, as its name was given.
    pub file: String,
    /// Programs, in order of sections and of functions in them.
    pub programs: Vec<ObjectProgram>,
    /// Map definitions: `.maps`, legacy maps, data sections.
    pub maps: Vec<MapDef>,
    /// Types, if it was compiled with `-g`.
    pub btf: Option<Arc<Btf>>,
    /// Contents of the `license` section; empty where there is none.
    pub license: String,
    /// What was passed over, each with its place.
    pub warnings: Vec<String>,
    globals: Vec<Global>,
}

/// A program of an object.
#[derive(Clone, Debug)]
pub struct ObjectProgram {
    /// Function name.
    pub name: String,
    /// ELF section.
    pub section: String,
    /// Type, if the section's name says one.
    pub program_type: Option<ProgramType>,
    /// Event or symbol that the section names.
    pub target: Option<String>,
    /// False where the section's name begins with `?`.
    pub autoload: bool,
    /// The linked program, or why it cannot be loaded; the others of the object still can.
    pub program: Result<Program, LoadError>,
}

impl Object {
    /// Reads an object; `file_name` is for messages.
    ///
    /// # Errors
    /// Not a 64-bit little-endian BPF object, malformed, over a limit, without programs, or with maps that cannot be
    /// understood. What concerns one program only is in [`ObjectProgram::program`].
    pub fn parse(data: &[u8], file_name: &str) -> Result<Object, LoadError> {
        let elf = elf::Elf::parse(data, file_name)?;
        let mut btf = match elf.section(".BTF") {
            Some((_, section)) => {
                let btf = Btf::parse(section.data).map_err(|e| elf.error(e.into()).section(".BTF"))?;
                Some(btf)
            }
            None => None,
        };
        let ext = match (&btf, elf.section(".BTF.ext")) {
            (Some(btf), Some((_, section))) => {
                BtfExt::parse(section.data, btf).map_err(|e| elf.error(e.into()).section(".BTF.ext"))?
            }
            _ => BtfExt::default(),
        };
        if let Some(btf) = &mut btf {
            data::place_variables(&elf, btf)?;
        }
        let btf = btf;
        let mut warnings = Vec::new();
        let maps = maps::read(&elf, btf.as_ref(), &mut warnings)?;
        let globals = data::globals(&elf, btf.as_ref(), &maps)?;
        let license = license(&elf);
        let functions = function::Functions::find(&elf)?;
        let entries = functions.entries(&elf);
        if entries.is_empty() {
            return Err(elf.error(LoadReason::NoPrograms));
        }
        maps::check_programs(&elf, &maps, &|name| entries.iter().any(|&entry| functions.all[entry].name == name))?;
        let mut linker = link::Linker::new(&elf, btf.as_ref(), &ext, &functions, &maps, &license)?;
        let mut programs = Vec::with_capacity(entries.len());
        for entry in entries {
            let function = &functions.all[entry];
            let section = elf.sections[function.section].name.to_string();
            let SectionName { program_type, target, autoload } = SectionName::parse(&section);
            programs.push(ObjectProgram {
                name: function.name.clone(),
                program: linker.link(entry, program_type, target.as_deref()),
                section,
                program_type,
                target,
                autoload,
            });
        }
        Ok(Object {
            file: file_name.to_owned(),
            programs,
            maps: maps.defs,
            btf: btf.map(Arc::new),
            license,
            warnings,
            globals,
        })
    }

    /// Global variables: where they lie in which data section.
    #[must_use]
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// The program of a name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&ObjectProgram> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The map definition of a name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&MapDef> {
        self.maps.iter().find(|map| map.name == name)
    }

    /// How a map's keys are to be read: by their type where the object has one, as bytes otherwise.
    ///
    /// # Errors
    /// A type that has no layout.
    pub fn key_layout(&self, map: &MapDef) -> Result<TypeLayout, LoadError> {
        self.layout(map, map.key_type, map.key_size)
    }

    /// How a map's values are to be read: by their type where the object has one, as bytes otherwise.
    ///
    /// # Errors
    /// A type that has no layout.
    pub fn value_layout(&self, map: &MapDef) -> Result<TypeLayout, LoadError> {
        self.layout(map, map.value_type, map.value_size)
    }

    fn layout(&self, map: &MapDef, type_id: Option<u32>, size: u32) -> Result<TypeLayout, LoadError> {
        match (&self.btf, type_id) {
            (Some(btf), Some(id)) => {
                btf.layout(id).map_err(|e| LoadError::new(&self.file, e.into()).section(&map.section))
            }
            _ => Ok(TypeLayout::Bytes { size }),
        }
    }
}

fn license(elf: &elf::Elf<'_>) -> String {
    let data = elf.section("license").map_or(&[][..], |(_, section)| section.data);
    let data = &data[..data.len().min(MAX_LICENSE)];
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    String::from_utf8_lossy(&data[..end]).into_owned()
}
