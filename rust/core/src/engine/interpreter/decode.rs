//! Instructions to ops: once, when a program is loaded.

use super::machine::{Op,Handler};use super::handlers::*;
use super::Code;
use crate::engine::EngineError;
use crate::engine::profile::{Flow, Counters};
use crate::helper::{self, FUNCTIONS, MAP_HANDLE_STRIDE, MAP_HANDLES};
use crate::isa::Insn;
use crate::map::MapSet;
use crate::memory::Bytes;
use crate::program::Program;

// TEMP raw decoder for measurements
pub(super) fn decode(program: &Program, maps: &MapSet) -> Result<Code, EngineError> {
    let insns = &program.insns;
    let mut ops = vec![];
    let mut slots = vec![];
    let mut index_of = vec![usize::MAX; insns.len()];
    let mut at = 0;
    while at < insns.len() {
        index_of[at] = ops.len();
        slots.push(at);
        let i = insns[at];
        let imm = i.imm as i64 as u64;
        let k = |run: Handler| Op { run, dst: i.dst, src: i.src, off: i.off as i32, imm, taken: Default::default() };
        let r = i.code & 8 != 0;
        let pick = |a: Handler, b: Handler| if r { b } else { a };

        let op = match i.code & 7 {
            7 => k(match i.code >> 4 { 0 => pick(alu64_imm::<Add>, alu64_reg::<Add>), 1 => pick(alu64_imm::<Sub>, alu64_reg::<Sub>), 2 => pick(alu64_imm::<Mul>, alu64_reg::<Mul>), 3 => pick(alu64_imm::<Div>, alu64_reg::<Div>), 4 => pick(alu64_imm::<Or>, alu64_reg::<Or>), 5 => pick(alu64_imm::<And>, alu64_reg::<And>), 6 => pick(alu64_imm::<Lsh>, alu64_reg::<Lsh>), 7 => pick(alu64_imm::<Rsh>, alu64_reg::<Rsh>), 8 => alu64_imm::<Neg>, 9 => pick(alu64_imm::<Mod>, alu64_reg::<Mod>), 10 => pick(alu64_imm::<Xor>, alu64_reg::<Xor>), 11 => pick(alu64_imm::<Mov>, alu64_reg::<Mov>), 12 => pick(alu64_imm::<Arsh>, alu64_reg::<Arsh>), _ => unary::<Swap64> as Handler }),
            4 => k(match i.code >> 4 { 0 => pick(alu32_imm::<Add>, alu32_reg::<Add>), 1 => pick(alu32_imm::<Sub>, alu32_reg::<Sub>), 2 => pick(alu32_imm::<Mul>, alu32_reg::<Mul>), 3 => pick(alu32_imm::<Div>, alu32_reg::<Div>), 4 => pick(alu32_imm::<Or>, alu32_reg::<Or>), 5 => pick(alu32_imm::<And>, alu32_reg::<And>), 6 => pick(alu32_imm::<Lsh>, alu32_reg::<Lsh>), 7 => pick(alu32_imm::<Rsh>, alu32_reg::<Rsh>), 8 => alu32_imm::<Neg>, 9 => pick(alu32_imm::<Mod>, alu32_reg::<Mod>), 10 => pick(alu32_imm::<Xor>, alu32_reg::<Xor>), 11 => pick(alu32_imm::<Mov>, alu32_reg::<Mov>), 12 => pick(alu32_imm::<Arsh>, alu32_reg::<Arsh>), _ => match (r, i.imm) { (true, 16) => unary::<Be16>, (true, 32) => unary::<Be32>, (true, _) => unary::<Be64>, (_, 16) => unary::<Le16>, (_, 32) => unary::<Le32>, _ => unary::<Le64> } }),
            5 => match i.code >> 4 { 0 => k(ja), 1 => k(pick(jump64_imm::<Eq>, jump64_reg::<Eq>)), 2 => k(pick(jump64_imm::<Gt>, jump64_reg::<Gt>)), 3 => k(pick(jump64_imm::<Ge>, jump64_reg::<Ge>)), 4 => k(pick(jump64_imm::<Set>, jump64_reg::<Set>)), 5 => k(pick(jump64_imm::<Ne>, jump64_reg::<Ne>)), 6 => k(pick(jump64_imm::<SGt>, jump64_reg::<SGt>)), 7 => k(pick(jump64_imm::<SGe>, jump64_reg::<SGe>)), 8 => if i.src == 1 { let mut o = k(call_local); o.off = i.imm; o } else { k(call_helper) }, 9 => k(exit), 10 => k(pick(jump64_imm::<Lt>, jump64_reg::<Lt>)), 11 => k(pick(jump64_imm::<Le>, jump64_reg::<Le>)), 12 => k(pick(jump64_imm::<SLt>, jump64_reg::<SLt>)), _ => k(pick(jump64_imm::<SLe>, jump64_reg::<SLe>)) },
            6 => k(match i.code >> 4 { 1 => pick(jump32_imm::<Eq>, jump32_reg::<Eq>), 2 => pick(jump32_imm::<Gt>, jump32_reg::<Gt>), 3 => pick(jump32_imm::<Ge>, jump32_reg::<Ge>), 4 => pick(jump32_imm::<Set>, jump32_reg::<Set>), 5 => pick(jump32_imm::<Ne>, jump32_reg::<Ne>), 6 => pick(jump32_imm::<SGt>, jump32_reg::<SGt>), 7 => pick(jump32_imm::<SGe>, jump32_reg::<SGe>), 10 => pick(jump32_imm::<Lt>, jump32_reg::<Lt>), 11 => pick(jump32_imm::<Le>, jump32_reg::<Le>), 12 => pick(jump32_imm::<SLt>, jump32_reg::<SLt>), _ => pick(jump32_imm::<SLe>, jump32_reg::<SLe>) }),
            1 => k(match i.code { 0x61 => load::<u32,false>, 0x69 => load::<u16,false>, 0x71 => load::<u8,false>, _ => load::<u64,false> }),
            2 => k(match i.code { 0x62 => store_imm::<u32>, 0x6a => store_imm::<u16>, 0x72 => store_imm::<u8>, _ => store_imm::<u64> }),
            3 => k(match i.code { 0x63 => store_reg::<u32,false>, 0x6b => store_reg::<u16,false>, 0x73 => store_reg::<u8,false>, 0x7b => store_reg::<u64,false>, 0xdb => atomic_add64, _ => atomic_add32 }),
            _ => { let mut o = k(load_imm64); o.imm = imm as u32 as u64 | (insns[at + 1].imm as u32 as u64) << 32; at += 1; o }
        };
        ops.push(op);
        at += 1;
    }
    let n = ops.len();
    let mut flow = vec![Flow::Next; n];
    for x in 0..n {
        let o = &mut ops[x];
        let c=insns[slots[x]].code; let cl=c&7;
        let jumps = (cl==5||cl==6) && c>>4!=9 && !(c>>4==8 && insns[slots[x]].src!=1);
        if jumps {
            let t = index_of[(slots[x] as i64 + 1 + o.off as i64) as usize];
            o.off = (t as i64 - x as i64) as i32*32;
            flow[x] = if c==5 { Flow::Jump(t) } else if c==0x85 { Flow::Call(t) } else { Flow::Branch(t) };
        }
        if c==0x95 { flow[x] = Flow::Exit }
    }
    ops.push(Op { run: off_the_end, dst: 0, src: 0, off: 0, imm: 0, taken: Default::default() });
    let n=slots.len();
    Ok(Code { ops, slots, index_of, helpers: vec![], flow, stack_use: 512, counters: Counters::new(n) })
}
