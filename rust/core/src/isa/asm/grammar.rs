//! The grammar of one line.

use std::borrow::Cow;

use winnow::LocatingSlice;
use winnow::combinator::{alt, delimited, opt, preceded, separated_pair, terminated};
use winnow::prelude::*;
use winnow::stream::Location;

use super::super::op::{Imm64, Op, Reg, SwapOrder};
use super::super::opcode::{AluOp, AtomicOp, JumpOp, Size, Width};
use super::super::text::{AtomicText, KFUNC};
use super::token::*;

/// What a line holds.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) label: Option<Name<'a>>,
    pub(super) item: Option<Item<'a>>,
}

#[derive(Debug)]
pub(super) enum Item<'a> {
    /// An instruction; where it names something, the name fills its field later.
    Op(Op, Option<Reference<'a>>),
    /// `.8byte`: any slot.
    Raw(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reference<'a> {
    /// A label.
    Label(Name<'a>),
    /// A local function by label, or a helper by name.
    Callee(Name<'a>),
    /// The name beside a helper id.
    Helper(Name<'a>),
    /// A map by name alone.
    Map(Name<'a>),
}

/// Parses a line without its comment.
pub(super) fn line(text: &str) -> Res<Line<'_>> {
    let input = &mut LocatingSlice::new(text);
    spaces(input)?;
    let label = opt(terminated(name, token(":"))).parse_next(input)?;
    if input.is_empty() {
        return Ok(Line { label, item: None });
    }
    let item = summed_up("an instruction or a label", item)(input)?;
    if !input.is_empty() {
        return Err(Expected::kind(input.current_token_start(), "the end of the line"));
    }
    Ok(Line { label, item: Some(item) })
}

fn item<'a>(input: &mut In<'a>) -> Res<Item<'a>> {
    let plain = |op| Item::Op(op, None);
    alt((
        keyword("exit").value(Op::Exit).map(plain),
        jump,
        preceded(keyword("call"), callee),
        preceded(keyword("callx"), reg64).map(|target| Op::CallRegister { target }).map(plain),
        preceded(keyword("lock"), locked).map(plain),
        preceded(keyword("store_release"), released).map(plain),
        preceded(keyword(".8byte"), number(Range::BITS64)).map(|value| Item::Raw(value as u64)),
        store.map(plain),
        assignment,
    ))
    .parse_next(input)
}

// Memory.

fn size_among<'a>(kind: &'static str, sizes: &'static [Size]) -> impl FnMut(&mut In<'a>) -> Res<Size> {
    one_of(kind, move |word| sizes.iter().copied().find(|size| size.name() == word))
}

fn unsigned_size(input: &mut In<'_>) -> Res<Size> {
    size_among("u8, u16, u32 or u64", Size::ALL)(input)
}

fn atomic_width(input: &mut In<'_>) -> Res<Width> {
    size_among("u32 or u64", &[Size::Word, Size::Double])(input)
        .map(|size| if size == Size::Word { Width::W32 } else { Width::W64 })
}

fn signed_size<'a>(width: Width) -> impl FnMut(&mut In<'a>) -> Res<Size> {
    let (kind, sizes): (_, &[Size]) = match width {
        Width::W32 => ("s8 or s16", &[Size::Byte, Size::Half]),
        Width::W64 => ("s8, s16 or s32", &[Size::Byte, Size::Half, Size::Word]),
    };
    one_of(kind, move |word| sizes.iter().copied().find(|size| size.signed_name() == word))
}

/// `(u64 *)`, with what the type is parsed by.
fn cast<'a, O>(of: impl Parser<In<'a>, O, Expected>) -> impl Parser<In<'a>, O, Expected> {
    delimited(token("("), of, (token("*"), token(")")))
}

/// `(r1 +8)`.
fn address(input: &mut In<'_>) -> Res<(Reg, i16)> {
    let (reg, offset) = delimited(token("("), (reg64, signed(Range::BITS16)), token(")")).parse_next(input)?;
    Ok((reg, offset as i16))
}

fn store(input: &mut In<'_>) -> Res<Op> {
    let (size, (base, offset)) = preceded(token("*"), (cast(unsigned_size), address)).parse_next(input)?;
    let src = preceded(token("="), operand(Width::W64)).parse_next(input)?;
    Ok(Op::Store { size, base, offset, src })
}

fn locked(input: &mut In<'_>) -> Res<Op> {
    const LOCKED: &[AtomicOp] = &[AtomicOp::Add, AtomicOp::Or, AtomicOp::And, AtomicOp::Xor];
    let symbol = |op: AtomicOp| match op.symbol() {
        AtomicText::Lock(symbol) | AtomicText::Fetch(symbol) => symbol,
    };
    let (width, (base, offset)) = preceded(token("*"), (cast(atomic_width), address)).parse_next(input)?;
    let (op, src) = (sign("`+=`, `|=`, `&=` or `^=`", LOCKED, symbol), reg64).parse_next(input)?;
    Ok(Op::Atomic { width, op, base, offset, src })
}

fn released(input: &mut In<'_>) -> Res<Op> {
    let target = (cast(unsigned_size), address);
    let ((size, (base, offset)), src) =
        delimited(token("("), separated_pair(target, token(","), reg64), token(")")).parse_next(input)?;
    Ok(Op::StoreRelease { size, base, offset, src })
}

// Assignments.

fn assignment<'a>(input: &mut In<'a>) -> Res<Item<'a>> {
    let (width, dst) = any_register(input)?;
    let op = sign("an operator such as `=` or `+=`", AluOp::ALL, AluOp::symbol)(input)?;
    let alu = operand(width).map(|src| Op::Alu { width, op, dst, src });
    if op != AluOp::Mov {
        return alu.map(|op| Item::Op(op, None)).parse_next(input);
    }
    let extended = (delimited(token("("), signed_size(width), token(")")), register(width))
        .map(|(from, src)| Op::MovSx { width, from, dst, src });
    let negated = preceded(token("-"), again(width, dst)).value(Op::Neg { width, dst });
    if width == Width::W32 {
        return alt((negated, extended, alu)).map(|op| Item::Op(op, None)).parse_next(input);
    }
    let value = alt((
        negated.map(|op| Item::Op(op, None)),
        alt((extended, load(dst), swap(dst), acquire(dst), atomic(dst))).map(|op| Item::Op(op, None)),
        imm64(dst),
        alu.map(|op| Item::Op(op, None)),
    ));
    let at = input.current_token_start();
    summed_up("a register r0 to r10, a number, memory, a byte swap or an atomic operation", value)(input).map_err(
        |mut error| {
            if error.at == at {
                error.literals.extend(words_of_values().map(Cow::Owned));
            }
            error
        },
    )
}

/// The words that `swap` and `atomic` know, for the nearest one.
fn words_of_values() -> impl Iterator<Item = String> {
    let swaps = SwapOrder::ALL.iter().flat_map(|order| [16, 32, 64].map(|bits| format!("{}{bits}", order.name())));
    let atomics = AtomicOp::ALL.iter().filter_map(|op| match op.symbol() {
        AtomicText::Fetch(name) => Some([format!("atomic_{name}"), format!("atomic64_{name}")]),
        AtomicText::Lock(_) => None,
    });
    swaps.chain(atomics.flatten())
}

fn load<'a>(dst: Reg) -> impl FnMut(&mut In<'a>) -> Res<Op> {
    move |input| {
        let either = alt((unsigned_size.map(|size| (size, false)), signed_size(Width::W64).map(|size| (size, true))));
        let (size, signed) = preceded(token("*"), cast(either)).parse_next(input)?;
        let memory = address.map(|(base, offset)| Op::Load { size, signed, dst, base, offset });
        if signed || size == Size::Double || dst != Reg::R0 {
            return alt((memory,)).parse_next(input);
        }
        alt((memory, preceded(keyword("skb"), packet(size)))).parse_next(input)
    }
}

/// `[5]` or `[r2 + 5]`.
fn packet<'a>(size: Size) -> impl FnMut(&mut In<'a>) -> Res<Op> {
    move |input| {
        let indirect = separated_pair(reg64, token("+"), imm32).map(|(src, offset)| Op::LoadInd { size, src, offset });
        let absolute = imm32.map(|offset| Op::LoadAbs { size, offset });
        delimited(token("["), alt((indirect, absolute)), token("]")).parse_next(input)
    }
}

fn swap<'a>(dst: Reg) -> impl FnMut(&mut In<'a>) -> Res<Op> {
    move |input| {
        let known = |word: &str| {
            SwapOrder::ALL.iter().find_map(|&order| {
                let size = Size::from_bits(word.strip_prefix(order.name())?.parse().ok()?)?;
                (size != Size::Byte).then_some((order, size))
            })
        };
        let (order, size) = one_of("a byte swap such as le16, be32 or bswap64", known)(input)?;
        again(Width::W64, dst)(input)?;
        Ok(Op::Swap { order, size, dst })
    }
}

fn acquire<'a>(dst: Reg) -> impl FnMut(&mut In<'a>) -> Res<Op> {
    move |input| {
        let source = delimited(token("("), (cast(unsigned_size), address), token(")"));
        let (size, (base, offset)) = preceded(keyword("load_acquire"), source).parse_next(input)?;
        Ok(Op::LoadAcquire { size, dst, base, offset })
    }
}

fn atomic<'a>(dst: Reg) -> impl FnMut(&mut In<'a>) -> Res<Op> {
    move |input| {
        let known = |word: &str| {
            let (width, name) = match word.strip_prefix("atomic64_") {
                Some(name) => (Width::W64, name),
                None => (Width::W32, word.strip_prefix("atomic_")?),
            };
            let named = |op: &AtomicOp| matches!(op.symbol(), AtomicText::Fetch(own) if own == name);
            Some((width, AtomicOp::ALL.iter().copied().find(named)?))
        };
        let (width, op) = one_of("an atomic operation such as atomic64_fetch_add", known)(input)?;
        let size: &[Size] = if width == Width::W32 { &[Size::Word] } else { &[Size::Double] };
        let kind = if width == Width::W32 { "u32, as the name says" } else { "u64, as the name says" };
        token("(")(input)?;
        let (_, (base, offset)) = (cast(size_among(kind, size)), address).parse_next(input)?;
        token(",")(input)?;
        let at = input.current_token_start();
        if op == AtomicOp::Cmpxchg {
            (again(Width::W64, Reg::R0), token(",")).parse_next(input)?;
        }
        let src = reg64(input)?;
        let result = if op == AtomicOp::Cmpxchg { Reg::R0 } else { src };
        if dst != result {
            return Err(Expected::kind(at, "the register that is assigned to (r0 for cmpxchg)"));
        }
        token(")")(input)?;
        Ok(Op::Atomic { width, op, base, offset, src })
    }
}

fn imm64<'a>(dst: Reg) -> impl FnMut(&mut In<'a>) -> Res<Item<'a>> {
    move |input| {
        let load = |value| Op::LoadImm64 { dst, value };
        let plain = |value| Item::Op(load(value), None);
        alt((
            preceded(keyword("map"), map(dst)),
            preceded(
                keyword("btf"),
                (delimited(token("["), imm32, token("]")), delimited(token("["), imm32, token("]"))),
            )
            .map(|(id, btf_fd)| plain(Imm64::BtfId { id, btf_fd })),
            preceded(keyword("subprog"), delimited(token("["), target, token("]")))
                .map(|(offset, label)| Item::Op(load(Imm64::Function { offset }), label)),
            terminated(number(Range::BITS64), keyword("ll")).map(|value| plain(Imm64::Value(value as u64))),
        ))
        .parse_next(input)
    }
}

/// `[EXITS#0]`, `[0]`, `[EXITS]` or `[idx:0]`, each with `[0]+8` for an address in its value.
fn map<'a>(dst: Reg) -> impl FnMut(&mut In<'a>) -> Res<Item<'a>> {
    move |input| {
        token("[")(input)?;
        let by_index = opt((keyword("idx"), token(":"))).parse_next(input)?.is_some();
        let (name, slot) = if by_index {
            (None, imm32(input)?)
        } else {
            let numbered = preceded(opt((name, token("#"))), imm32).map(|slot| (None, slot));
            alt((numbered, name.map(|name| (Some(Reference::Map(name)), 0)))).parse_next(input)?
        };
        token("]")(input)?;
        let inside = preceded((token("["), token("0"), token("]"), token("+")), number(Range::UNSIGNED32));
        let offset = opt(inside).parse_next(input)?.map(|offset| offset as u32);
        let value = match (by_index, offset) {
            (true, None) => Imm64::MapIndex(slot),
            (true, Some(offset)) => Imm64::MapIndexValue { index: slot, offset },
            (false, None) => Imm64::Map(slot),
            (false, Some(offset)) => Imm64::MapValue { map: slot, offset },
        };
        Ok(Item::Op(Op::LoadImm64 { dst, value }, name))
    }
}

// Jumps and calls.

/// `pc+3`, `+3` or a label.
fn target<'a>(input: &mut In<'a>) -> Res<(i32, Option<Reference<'a>>)> {
    let relative = preceded(opt(token("pc")), signed(Range::DISTANCE));
    alt((relative.map(|distance| (distance as i32, None)), name.map(|label| (0, Some(Reference::Label(label))))))
        .parse_next(input)
}

fn target16<'a>(input: &mut In<'a>) -> Res<(i16, Option<Reference<'a>>)> {
    let at = input.current_token_start();
    let (distance, label) = target(input)?;
    let offset = i16::try_from(distance);
    Ok((offset.map_err(|_| Expected::kind(at, "a distance from -32768 to 32767 (gotol jumps further)"))?, label))
}

fn jump<'a>(input: &mut In<'a>) -> Res<Item<'a>> {
    alt((
        preceded(keyword("goto"), target16).map(|(offset, label)| Item::Op(Op::Ja { offset }, label)),
        preceded(keyword("gotol"), target).map(|(offset, label)| Item::Op(Op::JaLong { offset }, label)),
        preceded(keyword("may_goto"), target16).map(|(offset, label)| Item::Op(Op::MayGoto { offset }, label)),
        preceded(keyword("if"), condition),
    ))
    .parse_next(input)
}

fn condition<'a>(input: &mut In<'a>) -> Res<Item<'a>> {
    let (width, dst) = any_register(input)?;
    let op = sign("a comparison such as `==` or `s>`", JumpOp::ALL, JumpOp::symbol)(input)?;
    let src = operand(width)(input)?;
    let (offset, label) = preceded(keyword("goto"), target16).parse_next(input)?;
    Ok(Item::Op(Op::Jump { width, op, dst, src, offset }, label))
}

fn callee<'a>(input: &mut In<'a>) -> Res<Item<'a>> {
    let kfunc = preceded(
        (keyword(KFUNC), token("#")),
        (imm32, opt(preceded((keyword("btf"), token("#")), number(Range::BITS16)))),
    )
    .map(|(btf_id, index)| Item::Op(Op::CallKfunc { btf_id, btf_index: index.unwrap_or(0) as i16 }, None));
    let helper = separated_pair(name, token("#"), imm32)
        .map(|(name, id)| Item::Op(Op::CallHelper { id: id as u32 }, Some(Reference::Helper(name))));
    let local = target.map(|(offset, label)| {
        let callee = label.map(|label| match label {
            Reference::Label(name) => Reference::Callee(name),
            other => other,
        });
        Item::Op(Op::CallLocal { offset }, callee)
    });
    summed_up("a helper as name#id, a label or a distance such as pc+3", alt((kfunc, helper, local)))(input)
}
