//! What the verifier knows of numbers is true of every number: random sets with a member each, through every operation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;

use axebpf_core::isa::{AluOp, JumpOp, Size, Width};
use axebpf_core::verifier::scalar::{Scalar, Tnum, outcome, refined};
use random::Random;

/// Pairs of operands for each operation.
const PAIRS: u32 = 1_000_000;

/// A number of a random size, or next to an edge.
fn number(random: &mut Random) -> u64 {
    let edges = [0, 1, 1 << 31, (1 << 31) - 1, 1 << 32, (1 << 32) - 1, 1 << 63, (1 << 63) - 1, u64::MAX];
    let number = match random.below(3) {
        0 => random.next() >> random.below(64),
        1 => random.pick(&edges).wrapping_add(random.below(5)).wrapping_sub(2),
        _ => random.below(70),
    };
    if random.once_in(4) { number.wrapping_neg() } else { number }
}

/// A set of numbers as the verifier has it, and one of them.
fn set(random: &mut Random) -> (Scalar, u64) {
    let member = number(random);
    let mut set = Scalar::UNKNOWN;
    if random.once_in(6) {
        return (Scalar::constant(member), member);
    }
    let spread = |random: &mut Random| random.next() >> random.below(64);
    for _ in 0..1 + random.below(3) {
        let mut known = Scalar::UNKNOWN;
        match random.below(6) {
            0 => {
                let mask = random.next() & random.next();
                known.bits = Tnum { value: member & !mask, mask };
            }
            1 => {
                known.unsigned.min = member.saturating_sub(spread(random));
                known.unsigned.max = member.saturating_add(spread(random));
            }
            2 => {
                known.signed.min = (member as i64).saturating_sub_unsigned(spread(random));
                known.signed.max = (member as i64).saturating_add_unsigned(spread(random));
            }
            3 => {
                known.unsigned32.min = (member as u32).saturating_sub(spread(random) as u32);
                known.unsigned32.max = (member as u32).saturating_add(spread(random) as u32);
            }
            4 => {
                known.signed32.min = (member as i32).saturating_sub_unsigned(spread(random) as u32);
                known.signed32.max = (member as i32).saturating_add_unsigned(spread(random) as u32);
            }
            _ => {}
        }
        set = set.intersect(&known.synced());
    }
    assert!(set.contains(member), "{member:#x} is lost from {set:?}");
    (set, member)
}

/// RFC 9669 §4.1, written once more.
fn computed(width: Width, op: AluOp, a: u64, b: u64) -> u64 {
    if width == Width::W32 {
        let (a, b) = (a as u32, b as u32);
        let (sa, sb) = (a as i32, b as i32);
        let result = match op {
            AluOp::Add => a.wrapping_add(b),
            AluOp::Sub => a.wrapping_sub(b),
            AluOp::Mul => a.wrapping_mul(b),
            AluOp::Div => a.checked_div(b).unwrap_or(0),
            AluOp::Or => a | b,
            AluOp::And => a & b,
            AluOp::Lsh => a << (b & 31),
            AluOp::Rsh => a >> (b & 31),
            AluOp::Mod => a.checked_rem(b).unwrap_or(a),
            AluOp::Xor => a ^ b,
            AluOp::Mov => b,
            AluOp::Arsh => (sa >> (b & 31)) as u32,
            AluOp::SDiv => {
                if b == 0 {
                    0
                } else {
                    sa.wrapping_div(sb) as u32
                }
            }
            AluOp::SMod => {
                if b == 0 {
                    a
                } else {
                    sa.wrapping_rem(sb) as u32
                }
            }
        };
        return result.into();
    }
    let (sa, sb) = (a as i64, b as i64);
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a << (b & 63),
        AluOp::Rsh => a >> (b & 63),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Arsh => (sa >> (b & 63)) as u64,
        AluOp::SDiv => {
            if b == 0 {
                0
            } else {
                sa.wrapping_div(sb) as u64
            }
        }
        AluOp::SMod => {
            if b == 0 {
                a
            } else {
                sa.wrapping_rem(sb) as u64
            }
        }
    }
}

fn holds(width: Width, op: JumpOp, a: u64, b: u64) -> bool {
    let (a, b, sa, sb) = match width {
        Width::W64 => (a, b, a as i64, b as i64),
        Width::W32 => (a & 0xffff_ffff, b & 0xffff_ffff, i64::from(a as i32), i64::from(b as i32)),
    };
    match op {
        JumpOp::Eq => a == b,
        JumpOp::Gt => a > b,
        JumpOp::Ge => a >= b,
        JumpOp::Set => a & b != 0,
        JumpOp::Ne => a != b,
        JumpOp::SGt => sa > sb,
        JumpOp::SGe => sa >= sb,
        JumpOp::Lt => a < b,
        JumpOp::Le => a <= b,
        JumpOp::SLt => sa < sb,
        JumpOp::SLe => sa <= sb,
    }
}

#[test]
fn arithmetic_keeps_every_result() {
    for (index, &op) in AluOp::ALL.iter().enumerate() {
        let mut random = Random(index as u64);
        for _ in 0..PAIRS {
            let ((a, x), (b, y)) = (set(&mut random), set(&mut random));
            let width = random.pick(Width::ALL);
            // Shifts by a constant are what is followed.
            let (b, y) = match op {
                AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if !random.once_in(4) => (Scalar::constant(y & 63), y & 63),
                _ => (b, y),
            };
            let (result, number) = (a.arithmetic(width, op, &b), computed(width, op, x, y));
            assert!(
                result.contains(number),
                "{width:?} {op:?} of {a:?} and {b:?}: {result:?}, but {x:#x}, {y:#x} give {number:#x}"
            );
        }
    }
}

#[test]
fn negation_and_sign_extension_keep_every_result() {
    let mut random = Random(50);
    for _ in 0..PAIRS {
        let (a, x) = set(&mut random);
        for &width in Width::ALL {
            let number = computed(width, AluOp::Sub, 0, x);
            assert!(a.negated(width).contains(number), "{width:?} -{a:?}: {x:#x}");
        }
        let from = random.pick(&[Size::Byte, Size::Half, Size::Word]);
        let extended = match from {
            Size::Byte => i64::from(x as i8),
            Size::Half => i64::from(x as i16),
            _ => i64::from(x as i32),
        };
        let result = a.sign_extended(Width::W64, from);
        assert!(result.contains(extended as u64), "{from:?} of {a:?}: {result:?}, but {x:#x}");
        let result = a.sign_extended(Width::W32, from);
        assert!(result.contains(u64::from(extended as u32)), "{from:?} of {a:?}: {result:?}, but {x:#x}");
        assert!(a.low32().contains(x & 0xffff_ffff), "{a:?}: {x:#x}");
    }
}

#[test]
fn swaps_and_truncations_keep_every_result() {
    let mut random = Random(60);
    for _ in 0..PAIRS {
        let (a, x) = set(&mut random);
        let size = random.pick(Size::ALL);
        let low = if size == Size::Double { x } else { x & ((1 << size.bits()) - 1) };
        assert!(a.truncated(size).contains(low), "{size:?} of {a:?}: {x:#x}");
        assert!(a.swapped(size, false).contains(low), "{size:?} of {a:?}: {x:#x}");
        let swapped = low.swap_bytes() >> (64 - size.bits());
        assert!(a.swapped(size, true).contains(swapped), "{size:?} of {a:?}: {x:#x}, {swapped:#x}");
    }
}

#[test]
fn a_branch_keeps_the_numbers_that_take_it() {
    for (index, &op) in JumpOp::ALL.iter().enumerate() {
        let mut random = Random(100 + index as u64);
        let mut known = 0;
        for _ in 0..PAIRS {
            let ((a, x), (b, mut y)) = (set(&mut random), set(&mut random));
            if random.once_in(8) && b.contains(x) {
                y = x;
            }
            let width = random.pick(Width::ALL);
            let taken = holds(width, op, x, y);
            let told = outcome(width, op, &a, &b);
            known += u32::from(told.is_some());
            assert!(
                told.is_none_or(|told| told == taken),
                "{width:?} {a:?} {op:?} {b:?}: told {told:?}; {x:#x}, {y:#x}"
            );
            let (left, right) = refined(width, op, &a, &b, taken);
            assert!(
                left.contains(x) && right.contains(y),
                "{width:?} {a:?} {op:?} {b:?} is {taken}: {left:?}, {right:?}; {x:#x}, {y:#x}"
            );
        }
        assert!((PAIRS / 20..PAIRS).contains(&known), "{op:?}: {known} outcomes known");
    }
}

#[test]
fn sets_that_have_nothing_in_common_are_seen_to() {
    let (low, high) = (Scalar::between(0, 9), Scalar::between(10, 20));
    assert!(low.intersect(&high).is_empty());
    assert!(refined(Width::W64, JumpOp::Gt, &low, &high, true).0.is_empty());
    assert!(refined(Width::W64, JumpOp::Lt, &high, &Scalar::constant(0), true).0.is_empty());
    assert!(refined(Width::W64, JumpOp::Ne, &Scalar::constant(7), &Scalar::constant(7), true).1.is_empty());
    let even = Scalar { bits: Tnum { value: 0, mask: !1 }, ..Scalar::UNKNOWN }.synced();
    assert!(even.intersect(&Scalar::constant(3)).is_empty());
}

#[test]
fn bits_are_as_exact_as_a_search_finds_them() {
    // All pairs of sets of four bits: no operation loses a result, and sums, differences and bitwise operations are exact.
    let sets: Vec<Tnum> = (0..16_u64)
        .flat_map(|mask| (0..16_u64).filter(move |value| value & mask == 0).map(move |value| Tnum { value, mask }))
        .collect();
    let members = |set: Tnum| (0..16_u64).filter(move |number| set.contains(*number));
    type Both = (fn(Tnum, Tnum) -> Tnum, fn(u64, u64) -> u64, bool);
    let operations: [Both; 6] = [
        (Tnum::add, u64::wrapping_add, true),
        (Tnum::sub, u64::wrapping_sub, true),
        (Tnum::mul, u64::wrapping_mul, false),
        (Tnum::and, |a, b| a & b, true),
        (Tnum::or, |a, b| a | b, true),
        (Tnum::xor, |a, b| a ^ b, true),
    ];
    for (number, (of_sets, of_numbers, is_exact)) in operations.into_iter().enumerate() {
        for (a, b) in sets.iter().flat_map(|a| sets.iter().map(move |b| (*a, *b))) {
            let result = of_sets(a, b);
            let (mut ones, mut zeroes) = (0, 0);
            for number in members(a).flat_map(|x| members(b).map(move |y| of_numbers(x, y))) {
                assert!(result.contains(number), "{a} {b}: {result}");
                ones |= number;
                zeroes |= !number;
            }
            assert!(!is_exact || result.mask == ones & zeroes, "operation {number}: {a} {b}: {result}");
        }
    }
}
