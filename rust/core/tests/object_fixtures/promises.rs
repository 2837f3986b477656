//! What every object promises to those who use it, whatever file it was read from. The fuzz target checks it too.
#![allow(clippy::unwrap_used, clippy::panic)]

use axebpf_core::object::Object;

/// Panics where an object breaks a promise.
pub fn check(object: &Object) {
    let map = |name: &str| object.map(name).unwrap_or_else(|| panic!("no map {name}"));
    for program in object.programs.iter().filter_map(|program| program.program.as_ref().ok()) {
        let len = program.insns.len();
        assert!(len > 0 && len <= 1_000_000 && program.maps.len() <= 64);
        assert_eq!(program.subprograms[0].start, 0);
        assert!(program.subprograms.is_sorted_by(|a, b| a.start < b.start));
        assert!(program.subprograms.iter().all(|subprogram| subprogram.start < len));
        assert!(program.lines.is_sorted_by(|a, b| a.insn < b.insn) && program.lines.iter().all(|l| l.insn < len));
        assert!(program.maps.iter().all(|name| map(name).name == *name));
        let starts_at = |at: usize, imm: i32| {
            let target = at as i64 + 1 + i64::from(imm);
            assert!(program.subprograms.iter().any(|subprogram| subprogram.start as i64 == target));
        };
        let mut at = 0;
        while at < len {
            let insn = program.insns[at];
            match (insn.code, insn.src) {
                (0x85, 1) | (0x18, 4) => starts_at(at, insn.imm),
                (0x18, 1) => assert!((insn.imm as usize) < program.maps.len()),
                (0x18, 2) => {
                    let bytes = map(&program.maps[insn.imm as usize]).initial.as_ref().unwrap().len();
                    assert!((program.insns[at + 1].imm as u32 as usize) < bytes);
                }
                (0x18, other) => assert_eq!(other, 0),
                _ => {}
            }
            at += if insn.code == 0x18 { 2 } else { 1 };
        }
    }
    for map in &object.maps {
        let _ = (map.spec(), object.key_layout(map), object.value_layout(map));
        assert!(map.initial.as_ref().is_none_or(|bytes| bytes.len() == map.value_size as usize));
    }
    for global in object.globals() {
        assert!(global.offset as usize + global.size as usize <= map(&global.map).initial.as_ref().unwrap().len());
    }
    if let Some(btf) = &object.btf {
        for (id, _) in btf.types() {
            let _ = (btf.layout(id), btf.c_declaration(id), btf.size_of(id));
        }
    }
}
