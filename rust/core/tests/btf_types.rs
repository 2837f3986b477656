//! BTF against bpftool (every type of an object and of the running kernel), and layouts against the compiler.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod object_fixtures;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use axebpf_core::btf::{Btf, BtfKind, IntEncoding, LayoutMember, Linkage, TypeLayout};
use axebpf_core::object::Object;
use object_fixtures::{clang, clangs, compile, compile_to, installed, scratch, sources, version};

/// A type as `bpftool btf dump … format raw` prints it.
fn raw(btf: &Btf, id: u32) -> String {
    let named = |name: &str| if name.is_empty() { "(anon)".to_owned() } else { name.to_owned() };
    let at = |offset: u32| named(btf.name_at(offset).unwrap());
    let linkage = |linkage: Linkage| match linkage {
        Linkage::Static => "static",
        Linkage::Global => "global",
        Linkage::Extern => "extern",
    };
    let ty = btf.get(id).unwrap();
    let mut text = format!("[{id}] ");
    let name = named(btf.name(id).unwrap());
    let _ = match &ty.kind {
        &BtfKind::Int { size, bits, bit_offset, signed, char, bool } => {
            let encoding = match (signed, char, bool) {
                (true, ..) => "SIGNED",
                (_, true, _) => "CHAR",
                (.., true) => "BOOL",
                _ => "(none)",
            };
            write!(text, "INT '{name}' size={size} bits_offset={bit_offset} nr_bits={bits} encoding={encoding}")
        }
        BtfKind::Pointer { target } => write!(text, "PTR '{name}' type_id={target}"),
        BtfKind::Array { element, index, len } => {
            write!(text, "ARRAY '{name}' type_id={element} index_type_id={index} nr_elems={len}")
        }
        BtfKind::Struct { size, members } | BtfKind::Union { size, members } => {
            let word = if matches!(ty.kind, BtfKind::Struct { .. }) { "STRUCT" } else { "UNION" };
            let _ = write!(text, "{word} '{name}' size={size} vlen={}", members.len());
            for member in members {
                let _ = write!(text, "\n\t'{}' type_id={}", at(member.name), member.type_id);
                let _ = write!(text, " bits_offset={}", member.bit_offset);
                if member.bitfield_size != 0 {
                    let _ = write!(text, " bitfield_size={}", member.bitfield_size);
                }
            }
            Ok(())
        }
        BtfKind::Enum { size, signed, values } => {
            let encoding = if *signed { "SIGNED" } else { "UNSIGNED" };
            let _ = write!(text, "ENUM '{name}' encoding={encoding} size={size} vlen={}", values.len());
            for value in values {
                let _ = write!(text, "\n\t'{}' val=", at(value.name));
                let _ = match (size, signed) {
                    (8, false) => write!(text, "{}", value.value as u64),
                    _ => write!(text, "{}", value.value),
                };
            }
            Ok(())
        }
        BtfKind::Forward { union } => {
            write!(text, "FWD '{name}' fwd_kind={}", if *union { "union" } else { "struct" })
        }
        BtfKind::Typedef { target } => write!(text, "TYPEDEF '{name}' type_id={target}"),
        BtfKind::Volatile { target } => write!(text, "VOLATILE '{name}' type_id={target}"),
        BtfKind::Const { target } => write!(text, "CONST '{name}' type_id={target}"),
        BtfKind::Restrict { target } => write!(text, "RESTRICT '{name}' type_id={target}"),
        BtfKind::TypeTag { target } => write!(text, "TYPE_TAG '{name}' type_id={target}"),
        BtfKind::DeclTag { target, component } => {
            write!(text, "DECL_TAG '{name}' type_id={target} component_idx={component}")
        }
        BtfKind::Function { prototype, linkage: l } => {
            write!(text, "FUNC '{name}' type_id={prototype} linkage={}", linkage(*l))
        }
        BtfKind::Prototype { result, parameters } => {
            let _ = write!(text, "FUNC_PROTO '{name}' ret_type_id={result} vlen={}", parameters.len());
            for parameter in parameters {
                let _ = write!(text, "\n\t'{}' type_id={}", at(parameter.name), parameter.type_id);
            }
            Ok(())
        }
        BtfKind::Variable { target, linkage: l } => {
            write!(text, "VAR '{name}' type_id={target}, linkage={}", linkage(*l))
        }
        BtfKind::DataSection { size, variables } => {
            let _ = write!(text, "DATASEC '{name}' size={size} vlen={}", variables.len());
            for variable in variables {
                let word = match btf.get(variable.type_id).unwrap().kind {
                    BtfKind::Function { .. } => "FUNC",
                    _ => "VAR",
                };
                let name = btf.name(variable.type_id).unwrap();
                let (id, offset, size) = (variable.type_id, variable.offset, variable.size);
                let _ = write!(text, "\n\ttype_id={id} offset={offset} size={size} ({word} '{name}')");
            }
            Ok(())
        }
        BtfKind::Float { size } => write!(text, "FLOAT '{name}' size={size}"),
        BtfKind::Void => panic!("type {id} is void"),
    };
    text
}

/// Compares every type; returns how many there were, or `None` without bpftool.
fn compare_with_bpftool(btf: &Btf, file: &Path) -> Option<usize> {
    let bpftool = ["bpftool", "/usr/sbin/bpftool"].into_iter().find(|tool| installed(tool));
    let Some(bpftool) = bpftool else {
        eprintln!("skipped: bpftool is not installed");
        return None;
    };
    let output = Command::new(bpftool).args(["btf", "dump", "file"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = String::from_utf8(output.stdout).unwrap();
    let mut ours = String::new();
    btf.types().for_each(|(id, _)| writeln!(ours, "{}", raw(btf, id)).unwrap());
    // Two kinds of enumeration, by the width of their values, are one kind to us.
    let expected = expected.replace("ENUM64 ", "ENUM ").replace("ULL\n", "\n").replace("LL\n", "\n");
    for (ours, expected) in ours.lines().zip(expected.lines()) {
        assert_eq!(ours, expected, "{}", file.display());
    }
    assert_eq!(ours.len(), expected.len(), "{}", file.display());
    Some(btf.types().count())
}

/// The bytes of a section, found by the name's place in the section name table: enough for compilers' objects.
fn btf_of(object: &[u8]) -> Vec<u8> {
    let word = |at: usize| u64::from_le_bytes(object[at..at + 8].try_into().unwrap()) as usize;
    let half = |at: usize| u16::from_le_bytes(object[at..at + 2].try_into().unwrap()) as usize;
    let (table, count, names) = (word(40), half(60), half(62));
    let names = word(table + names * 64 + 24);
    let header = (0..count).map(|n| table + n * 64).find(|&header| {
        let name = u32::from_le_bytes(object[header..header + 4].try_into().unwrap()) as usize;
        object[names + name..].starts_with(b".BTF\0")
    });
    let header = header.unwrap();
    object[word(header + 24)..word(header + 24) + word(header + 32)].to_vec()
}

#[test]
fn types_are_those_of_bpftool() {
    for clang in clangs() {
        for source in ["layouts.c", "externs.c", "maps.c", "core.c"] {
            let output = scratch("types.o");
            compile_to(clang, &sources().join(source), &[], &output);
            let btf = Btf::parse(&btf_of(&std::fs::read(&output).unwrap())).unwrap();
            compare_with_bpftool(&btf, &output);
        }
    }
}

#[test]
fn types_of_the_kernel_are_those_of_bpftool_and_have_layouts() {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    let Ok(data) = std::fs::read(path) else {
        eprintln!("skipped: no {}", path.display());
        return;
    };
    let btf = Btf::parse(&data).unwrap();
    compare_with_bpftool(&btf, path);
    for (id, ty) in btf.types() {
        if let BtfKind::Struct { size, .. } | BtfKind::Union { size, .. } = ty.kind {
            assert_eq!(btf.layout(id).unwrap().size(), u64::from(size), "{}", btf.name(id).unwrap());
            btf.c_declaration(id).unwrap();
        }
    }
}

fn find(btf: &Btf, name: &str) -> u32 {
    btf.types().find(|(id, _)| btf.name(*id).unwrap() == name).map(|(id, _)| id).unwrap()
}

/// The words of a `const volatile u32` array in the object.
fn words(object: &Object, name: &str) -> Vec<u32> {
    let global = object.globals().iter().find(|global| global.name == name).unwrap();
    let bytes = object.map(&global.map).unwrap().initial.as_ref().unwrap();
    let bytes = &bytes[global.offset as usize..(global.offset + global.size) as usize];
    bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

fn members(layout: &TypeLayout) -> &[LayoutMember] {
    match layout {
        TypeLayout::Struct { members, .. } | TypeLayout::Union { members, .. } => members,
        other => panic!("{other:?}"),
    }
}

#[test]
fn layouts_are_those_of_the_compiler() {
    for clang in clangs() {
        let object = Object::parse(&compile(clang, "layouts.c", &[]), "layouts.c").unwrap();
        let btf = object.btf.as_ref().unwrap();
        let shape = btf.layout(find(btf, "shape")).unwrap();
        let plain: Vec<_> = members(&shape).iter().filter(|member| member.bitfield_size == 0).collect();
        let names: Vec<_> = plain.iter().map(|member| member.name.as_str()).collect();
        let expected = [
            "byte",
            "in_anonymous",
            "wide",
            "low",
            "high",
            "text",
            "qualified",
            "nested",
            "small",
            "wide_enum",
            "truth",
            "pointer",
            "function",
            "matrix",
            "d",
            "huge",
            "next",
            "tail",
        ];
        assert_eq!(names, expected);
        let offsets: Vec<_> = plain.iter().map(|member| member.bit_offset / 8).collect();
        assert_eq!(offsets, words(&object, "offsets"), "{clang}");
        let sizes = ["shape", "packed", "either", "wide", "inner"].map(|name| {
            let id = btf
                .types()
                .find(|(id, ty)| {
                    let kind = matches!(ty.kind, BtfKind::Struct { .. } | BtfKind::Union { .. } | BtfKind::Enum { .. });
                    kind && btf.name(*id).unwrap() == name
                })
                .unwrap()
                .0;
            let layout = btf.layout(id).unwrap();
            assert_eq!(layout.size(), u64::from(btf.size_of(id).unwrap()));
            btf.size_of(id).unwrap()
        });
        assert_eq!(sizes[..], words(&object, "sizes"), "{clang}");
    }
}

/// The compiler stored 5, -7 and 0x123456789a into the bit fields of `bits`.
#[test]
fn bit_fields_are_where_the_compiler_puts_them() {
    for clang in clangs() {
        let object = Object::parse(&compile(clang, "layouts.c", &[]), "layouts.c").unwrap();
        let btf = object.btf.as_ref().unwrap();
        let global = object.globals().iter().find(|global| global.name == "bits").unwrap();
        let bytes = object.map(&global.map).unwrap().initial.clone().unwrap();
        let bytes = &bytes[global.offset as usize..];
        let shape = btf.layout(global.btf_type.unwrap()).unwrap();
        let field = |name: &str| {
            let member = members(&shape).iter().find(|member| member.name == name).unwrap();
            let bit = |n: u32| u64::from(bytes[n as usize / 8] >> (n % 8) & 1);
            (0..member.bitfield_size).map(|n| bit(member.bit_offset + n) << n).sum::<u64>()
        };
        assert_eq!((field("first"), field("second"), field("third")), (5, (1 << 29) - 7, 0x12_3456_789a), "{clang}");
    }
}

#[test]
fn scalars_have_sign_and_meaning() {
    let Some(clang) = clang() else { return };
    let object = Object::parse(&compile(clang, "layouts.c", &[]), "layouts.c").unwrap();
    let btf = object.btf.as_ref().unwrap();
    let shape = btf.layout(find(btf, "shape")).unwrap();
    let member = |name: &str| &members(&shape).iter().find(|member| member.name == name).unwrap().layout;
    let int = |size, signed, encoding| TypeLayout::Int { size, signed, encoding };
    assert_eq!(*member("byte"), int(1, false, IntEncoding::Number));
    assert_eq!(*member("low"), int(4, true, IntEncoding::Number));
    assert_eq!(*member("truth"), int(1, false, IntEncoding::Bool));
    assert_eq!(*member("huge"), int(16, true, IntEncoding::Number));
    assert_eq!(*member("d"), TypeLayout::Float { size: 8 });
    assert_eq!(*member("next"), TypeLayout::Pointer);
    assert_eq!(*member("function"), TypeLayout::Pointer);
    let char = Box::new(int(1, true, IntEncoding::Char));
    assert_eq!(*member("text"), TypeLayout::Array { element: char, len: 12 });
    let TypeLayout::Enum { name, size: 8, values, .. } = member("wide_enum") else { panic!() };
    assert_eq!((name.as_str(), &values[..]), ("wide", &[("WIDE".to_owned(), 0x0123_4567_89ab_cdef)][..]));
    if version(clang) >= 15 {
        // Before, clang does not mark signed enumerations.
        let TypeLayout::Enum { signed: true, values, .. } = member("small") else { panic!() };
        assert_eq!(values[1], ("MINUS".to_owned(), -1));
    }
}

/// What is printed compiles again, to the same layout.
#[test]
fn c_declarations_compile_to_the_same_types() {
    // Before version 15, clang cuts enumerators to 32 bits.
    for clang in clangs().into_iter().filter(|clang| version(clang) >= 15) {
        let object = Object::parse(&compile(clang, "layouts.c", &[]), "layouts.c").unwrap();
        let btf = object.btf.as_ref().unwrap();
        let mut text = "#include \"bench.h\"\n".to_owned();
        for name in ["qualified_t", "inner", "small", "wide", "shape", "either"] {
            let id = btf
                .types()
                .find(|(id, ty)| !matches!(ty.kind, BtfKind::Variable { .. }) && btf.name(*id).unwrap() == name);
            let declaration = btf.c_declaration(id.unwrap().0).unwrap();
            text.push_str(&declaration);
            text.push('\n');
        }
        text.push_str("struct shape one; union either two;\n");
        text.push_str("SEC(\"tp/vmm/a\") int program(void *c) { return one.byte + two.number; }\n");
        let (source, output) = (scratch("again.c"), scratch("again.o"));
        std::fs::write(&source, &text).unwrap();
        compile_to(clang, &source, &[], &output);
        let again = Object::parse(&std::fs::read(&output).unwrap(), "again.o").unwrap();
        let again = again.btf.as_ref().unwrap();
        for (name, of) in [("shape", "struct"), ("either", "union")] {
            let id = |btf: &Btf| {
                let wanted = |kind: &BtfKind| match of {
                    "struct" => matches!(kind, BtfKind::Struct { .. }),
                    _ => matches!(kind, BtfKind::Union { .. }),
                };
                btf.types().find(|(id, ty)| wanted(&ty.kind) && btf.name(*id).unwrap() == name).unwrap().0
            };
            assert_eq!(btf.layout(id(btf)).unwrap(), again.layout(id(again)).unwrap(), "{clang}:\n{text}");
        }
    }
}

#[test]
fn c_declarations_read_as_c() {
    let Some(clang) = clang() else { return };
    let object = Object::parse(&compile(clang, "maps.c", &[]), "maps.c").unwrap();
    let btf = object.btf.as_ref().unwrap();
    let key = btf.c_declaration(find(btf, "key")).unwrap();
    assert_eq!(key, "struct key {\n\tu32 vm_id;\n\tu32 vcpu_id;\n};");
    let stats = btf.c_declaration(find(btf, "stats_t")).unwrap();
    assert_eq!(stats, "typedef struct {\n\tu64 count;\n\tu64 total_ns;\n\tu32 reasons[4];\n} stats_t;");
}

#[test]
fn a_data_section_has_a_layout() {
    let Some(clang) = clang() else { return };
    let object = Object::parse(&compile(clang, "globals.c", &[]), "globals.c").unwrap();
    let layout = object.value_layout(object.map(".data").unwrap()).unwrap();
    let mut names: Vec<_> = members(&layout).iter().map(|m| (m.bit_offset / 8, m.name.as_str())).collect();
    names.sort_unstable();
    // Offsets as `llvm-nm` prints them: the compiler keeps the order of the source.
    assert_eq!(names, [(0, "counter"), (8, "origin"), (24, "hidden_data")]);
}
