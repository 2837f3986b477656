//! What Linux wants to know of the functions of a program that are called back: that they are static, by BTF.

/// Slots at which functions begin: the program, and each that an `lddw` with the source 4 names.
pub fn functions(insns: &[[u8; 8]]) -> Vec<u32> {
    let mut starts = vec![0];
    for (at, insn) in (0_u32..).zip(insns) {
        if insn[0] == 0x18 && insn[1] >> 4 == 4 {
            let distance = i32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]]);
            starts.push((at + 1).wrapping_add_signed(distance));
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// Id of the type in [`btf`] that says: a static function without parameters that returns an int.
const STATIC: u32 = 3;

/// `.BTF` with that type.
pub fn btf() -> Vec<u8> {
    const NAMES: &[u8] = b"\0int\0f\0";
    let (int, function, prototype) = (1 << 24, 12 << 24, 13 << 24);
    // Of each: name, kind, size or type; of the int also that it is signed, and its bits.
    let types: [u32; 10] = [1, int, 4, 1 << 24 | 32, 0, prototype, 1, 5, function, 2];
    let types_len = size_of_val(&types) as u32;
    // Magic and version, length of this header, then where types and names are.
    let header = [0x1_eb9f, 24, 0, types_len, types_len, NAMES.len() as u32];
    let words = header.iter().chain(&types).flat_map(|word| word.to_le_bytes());
    words.chain(NAMES.iter().copied()).collect()
}

/// `struct bpf_func_info` of each function.
pub fn function_info(starts: &[u32]) -> Vec<[u32; 2]> {
    starts.iter().map(|start| [*start, STATIC]).collect()
}
