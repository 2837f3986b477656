//! The published classic conformance programs (bpf_conformance), which are kept beside the project and not committed
//! with it: `conformance/classic.json` in the folder that `AXEBPF_SHARED` names, by default `../shared` beside the
//! checkout.

use std::path::PathBuf;

/// A program with its memory and its result.
pub struct Classic {
    pub name: String,
    pub code: Vec<u8>,
    pub memory: Vec<u8>,
    pub r0: u64,
}

pub fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// All of them; none, said in the test's output, where the file is not there.
pub fn classic() -> Option<Vec<Classic>> {
    let shared = std::env::var_os("AXEBPF_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(shared.join("conformance/classic.json")) else {
        println!("skipped: no conformance/classic.json beside the checkout; AXEBPF_SHARED names its folder");
        return None;
    };
    let programs: serde_json::Value = serde_json::from_str(&text).unwrap();
    let read = |(name, case): (&String, &serde_json::Value)| {
        let text = |key: &str| case[key].as_str().unwrap();
        let r0 = u64::from_str_radix(text("result").trim_start_matches("0x"), 16).unwrap();
        Classic { name: name.clone(), code: from_hex(text("code")), memory: from_hex(text("mem")), r0 }
    };
    Some(programs.as_object().unwrap().iter().map(read).collect())
}
