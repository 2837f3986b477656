//! Packets: the context of xdp and socket programs, data of which only what was compared with its end is there, and the
//! legacy loads.

use super::Rule;
use super::access::Access;
use super::error::Refusal;
use super::explore::Explorer;
use super::scalar::of_size;
use super::state::State;
use super::value::{Kind, Number, Pointer, Value};
use crate::isa::{JumpOp, Reg, Size};
use crate::program::ProgramType;

/// Most of an offset that a comparison with the end says something of (measured).
const MOST_OFFSET: u64 = 0xffff;
/// Helpers that take packet data as memory (measured).
const FOR_PACKETS: [u32; 5] = [1, 2, 3, 87, 195];

/// What a load from the context of an xdp program gives, where it may be made: `struct xdp_md`.
pub fn load_xdp(offset: i32, size: Size, signed: bool) -> Option<Value> {
    let pointer = |kind: Kind| (!signed).then_some(Value::Pointer(Pointer::new(kind)));
    match (offset, size) {
        (0, Size::Word) => pointer(Kind::Packet { range: 0 }),
        (4, Size::Word) => pointer(Kind::PacketEnd),
        (8, Size::Word) => pointer(Kind::PacketMeta { range: 0 }),
        // Index of the interface, index of the queue.
        (12 | 16, Size::Word) => Some(Value::Number(Number::new(of_size(size, signed), 0))),
        _ => None,
    }
}

/// Whether a socket program may access its context there: `struct __sk_buff`, whose bytes 48 to 67 are its own.
pub fn socket_context(offset: i32, size: u32, write: bool) -> bool {
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    let within = |start: i32, end: i32| offset >= start && offset + size <= end;
    if offset % size != 0 {
        return false;
    }
    match (write, size) {
        (true, 8) | (false, 8) => within(48, 64),
        (true, _) => within(48, 68),
        // Then the address family, the length on the wire, the size of a segment.
        (false, _) => within(0, 72) || within(84, 88) || within(164, 168) || within(176, 180),
    }
}

impl Explorer<'_> {
    /// An access to packet data.
    pub fn check_packet(&self, state: &State, pointer: &Pointer, access: Access, range: u32) -> Result<(), Refusal> {
        let Access { base, offset, size, .. } = access;
        let start = i64::from(pointer.offset) + i64::from(offset);
        let number = base.number();
        let (linux, what) = if pointer.variable.signed.min < 0 {
            (
                format!("R{number} min value is negative, either use unsigned index or do a if (index >=0) check."),
                "the offset may be negative".to_owned(),
            )
        } else if start < 0 || start + i64::from(size) > i64::from(range) {
            (
                format!(
                    "invalid access to packet, off={start} size={size}, R{number}(id={},off={start},r={range})",
                    pointer.id
                ),
                format!("{size} bytes at offset {start}; {range} bytes are known to be there"),
            )
        } else {
            return Ok(());
        };
        Err(Refusal::new(Rule::Memory, state.at, linux, what)
            .about(&[base])
            .hint("compare with the end of the packet first: if (data + sizeof(*h) > data_end) return XDP_PASS;"))
    }

    /// Whether a helper may be given packet data.
    pub fn packet_for_helper(state: &State, reg: Reg, helper: u32) -> Result<(), Refusal> {
        let is_packet = matches!(
            state.get(reg),
            Value::Pointer(Pointer { kind: Kind::Packet { .. } | Kind::PacketMeta { .. }, .. })
        );
        if !is_packet || FOR_PACKETS.contains(&helper) {
            return Ok(());
        }
        let what = "this helper takes no packet data; copy it to the stack first";
        Err(Refusal::new(Rule::Argument, state.at, "helper access to the packet is not allowed", what).about(&[reg]))
    }

    /// The legacy loads, which have the packet in r6 and end the program where there is no such byte.
    pub fn load_legacy(&mut self, state: &mut State, size: Size, index: Option<Reg>) -> Result<(), Refusal> {
        let at = state.at;
        if self.program_type != ProgramType::SocketFilter {
            let linux = "BPF_LD_[ABS|IND] instructions not allowed for this program type";
            let what = "these legacy loads are for socket programs";
            return Err(Refusal::new(Rule::Encoding, at, linux, what));
        }
        self.all_given_back(state, 0, "where this load may end the program")?;
        let packet = self.read(state, Reg::R6)?;
        if !matches!(packet, Value::Pointer(pointer) if pointer.kind == Kind::Context && pointer.constant_offset() == Some(0))
        {
            let linux = "at the time of BPF_LD_ABS|IND R6 != pointer to skb";
            return Err(Refusal::new(Rule::Dereference, at, linux, "r6 has to be the context").about(&[Reg::R6]));
        }
        self.need_exact(state, &packet);
        if let Some(index) = index {
            let index = self.read(state, index)?;
            self.need_kind(state, &index);
        }
        super::call::forget_arguments(state);
        state.set(Reg::R0, Value::Number(Number::new(of_size(size, false), 0)));
        Ok(())
    }
}

/// What a comparison of packet data with its end (or of metadata with the data) teaches.
pub fn learn(state: &mut State, op: JumpOp, left: &Value, right: &Value, holds: bool) {
    let (Value::Pointer(a), Value::Pointer(b)) = (left, right) else { return };
    let is_end = |data: &Pointer, end: &Pointer| match (data.kind, end.kind) {
        (Kind::Packet { .. }, Kind::PacketEnd) => true,
        (Kind::PacketMeta { .. }, Kind::Packet { .. }) => end.id == 0 && end.constant_offset() == Some(0),
        _ => false,
    };
    // Which way round they stand, and whether the data is known to be below the end or up to it.
    let (data, below) = match (op, holds, is_end(a, b), is_end(b, a)) {
        (JumpOp::Gt, false, true, _) | (JumpOp::Le, true, true, _) => (a, false),
        (JumpOp::Lt, true, true, _) | (JumpOp::Ge, false, true, _) => (a, true),
        (JumpOp::Gt, true, _, true) | (JumpOp::Le, false, _, true) => (b, true),
        (JumpOp::Lt, false, _, true) | (JumpOp::Ge, true, _, true) => (b, false),
        _ => return,
    };
    let Ok(offset) = u64::try_from(data.offset) else { return };
    let most = data.variable.unsigned.max;
    if offset == 0 && !below || most > MOST_OFFSET || most + offset > MOST_OFFSET {
        return;
    }
    let known = u32::try_from(offset + u64::from(below)).unwrap_or(0);
    let (id, is_meta) = (data.id, matches!(data.kind, Kind::PacketMeta { .. }));
    let same = |value: &Value| match value {
        Value::Pointer(Pointer { kind: Kind::Packet { .. }, id: other, .. }) => !is_meta && *other == id,
        Value::Pointer(Pointer { kind: Kind::PacketMeta { .. }, id: other, .. }) => is_meta && *other == id,
        _ => false,
    };
    let origins = left.from() | right.from();
    state.change(same, |value| {
        let mut value = *value;
        if let Value::Pointer(pointer) = &mut value {
            if let Kind::Packet { range } | Kind::PacketMeta { range } = &mut pointer.kind {
                *range = (*range).max(known);
            }
            pointer.from |= origins;
        }
        value
    });
}
