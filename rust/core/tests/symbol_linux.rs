//! The kernel's own symbols: `/proc/kallsyms` is read, and the kernel is asked what it calls an address (`%pS`).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "helper_world/linux.rs"]
mod linux;
mod random;
mod symbol_support;

use axebpf_core::symbol::{Range, SymbolTable};
use linux::{EXIT, Kernel, Trace, call, mov, number};
use random::Random;
use symbol_support::text;

/// `bpf_trace_printk`.
const TRACE_PRINTK: u32 = 6;
const FORMAT: &[u8] = b"%pS\0";

fn kallsyms() -> Result<(Vec<u8>, SymbolTable), String> {
    let text = std::fs::read("/proc/kallsyms").map_err(|error| format!("/proc/kallsyms: {error}"))?;
    let table = SymbolTable::from_text(&text, Range::ALL).map_err(|error| error.to_string())?;
    match table.lookup_name(b"_stext") {
        Some(1..) => Ok((text, table)),
        _ => Err("the kernel hides its addresses from this user".to_owned()),
    }
}

#[test]
fn proc_kallsyms_is_read_whole_and_written_again() {
    let (text, table) = match kallsyms() {
        Ok(found) => found,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    assert_eq!(table.len(), text.split(|&byte| byte == b'\n').count() - 1);
    assert_eq!(table.skipped(), 0);
    // The kernel lists modules behind itself, in no order: so the same lines, sorted by address.
    let mut expected: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    expected.sort_by_key(|line| line[..16].to_vec());
    assert!(table.to_text().unwrap() == expected.concat());
}

#[test]
fn addresses_are_called_what_linux_calls_them() {
    let opened = kallsyms().and_then(|(_, table)| Ok((table, Kernel::open()?, Trace::open()?)));
    let (table, kernel, trace) = match opened {
        Ok(found) => found,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    // The kernel itself, as a module ends where its memory does; and no per-CPU variables, whose addresses are offsets.
    let stext = table.lookup_name(b"_stext").unwrap();
    let symbols: Vec<_> = table.iter().filter(|s| s.address >= stext && s.module.is_none()).collect();
    let aliases: Vec<_> = symbols.chunk_by(|a, b| a.address == b.address).filter(|same| same.len() > 1).collect();
    let mut random = Random(3);
    kernel.put(FORMAT);
    let mut asked = [0, 0];
    for round in 0..160 {
        let symbol = match round % 2 {
            0 => symbols[random.below(symbols.len() as u64) as usize],
            _ => aliases[random.below(aliases.len() as u64) as usize][0],
        };
        let address = symbol.address + if random.once_in(2) { 0 } else { random.below(symbol.size.max(1)) };
        let mut code = kernel.memory(1, 0).to_vec();
        code.push(mov(2, FORMAT.len() as i32));
        code.extend(number(3, address));
        code.extend([call(TRACE_PRINTK), mov(0, 0), EXIT]);
        trace.clear();
        kernel.try_run(&code).unwrap();
        let printed = text(&trace.printed().unwrap());
        let found = table.lookup_address(address).unwrap();
        let ours = format!("{}+{:#x}/{:#x}", text(found.symbol.name), found.offset, found.symbol.size);
        // A number is what it prints where it does not look for a symbol.
        if !printed.starts_with("0x") {
            assert_eq!(ours, printed, "{address:#x}");
            asked[round % 2] += 1;
        }
    }
    assert!(asked.iter().all(|&asked| asked > 50), "asked about {asked:?} addresses, the second number about aliases");
}
