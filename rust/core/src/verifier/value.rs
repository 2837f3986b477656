//! What a register or a stack slot holds.

use std::fmt;

use super::scalar::Scalar;
use crate::map::MapSpec;
use crate::memory::FRAME;
use crate::object::{Object, UnknownMapKind};
use crate::program::Program;

/// Which of the values at the path's latest checkpoint this one was made of: a bit for each ([`super::checkpoint`]).
pub type Origins = u128;

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// Nothing that may be read.
    Unset,
    /// A number.
    Number(Number),
    /// An address.
    Pointer(Pointer),
}

/// A number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number {
    /// What it can be.
    pub scalar: Scalar,
    /// Numbers with the same id differ by their `plus` alone; 0 for none.
    pub id: u32,
    /// How much it is more than the number that the id stands for.
    pub plus: i32,
    /// Whether that is so of the low half alone, the upper one being zero.
    pub narrow: bool,
    /// What it was made of.
    pub from: Origins,
}

impl Number {
    /// A number that belongs to no other.
    #[must_use]
    pub const fn new(scalar: Scalar, from: Origins) -> Number {
        Number { scalar, id: 0, plus: 0, narrow: false, from }
    }

    /// The same, without a link to others.
    pub fn unlink(&mut self) {
        (self.id, self.plus, self.narrow) = (0, 0, false);
    }
}

/// An address: of something, `offset` and a variable part beyond its beginning.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pointer {
    /// Of what.
    pub kind: Kind,
    /// Whether it may be null instead.
    pub or_null: bool,
    /// Pointers with the same id are null together; of a record, the id of the reservation; 0 for none.
    pub id: u32,
    /// The part of the offset that is constant.
    pub offset: i32,
    /// The part that is not.
    pub variable: Scalar,
    /// What it was made of.
    pub from: Origins,
}

impl Pointer {
    /// To the beginning of something.
    #[must_use]
    pub const fn new(kind: Kind) -> Pointer {
        Pointer { kind, or_null: false, id: 0, offset: 0, variable: Scalar::constant(0), from: 0 }
    }

    /// The offset, if it is constant.
    #[must_use]
    pub fn constant_offset(&self) -> Option<i64> {
        Some(i64::from(self.offset).wrapping_add(self.variable.as_constant()?.cast_signed()))
    }

    /// As the kernel names it: `map_value_or_null`.
    #[must_use]
    pub const fn linux_name(&self) -> &'static str {
        match (self.kind, self.or_null) {
            (Kind::Context, _) => "ctx",
            (Kind::Stack { .. }, _) => "fp",
            (Kind::Map(_), false) => "map_ptr",
            (Kind::Map(_), true) => "map_ptr_or_null",
            (Kind::MapValue(_), false) => "map_value",
            (Kind::MapValue(_), true) => "map_value_or_null",
            (Kind::MapKey(_), _) => "map_key",
            (Kind::Record { .. }, false) => "ringbuf_mem",
            (Kind::Record { .. }, true) => "ringbuf_mem_or_null",
            (Kind::Memory { .. }, _) => "mem",
            (Kind::Function { .. }, _) => "func",
            (Kind::Packet { .. }, _) => "pkt",
            (Kind::PacketMeta { .. }, _) => "pkt_meta",
            (Kind::PacketEnd, _) => "pkt_end",
        }
    }
}

/// What an address is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The program's context.
    Context,
    /// The end of the stack of a frame.
    Stack {
        /// Which, from the entry's on.
        frame: usize,
    },
    /// A map itself.
    Map(MapRef),
    /// A value of a map.
    MapValue(MapRef),
    /// A key of a map, as a callback gets it.
    MapKey(MapRef),
    /// A record of a ring buffer that is reserved.
    Record {
        /// Bytes.
        size: u32,
    },
    /// The buffer that a program of type `mem` works on.
    Memory {
        /// Bytes.
        size: u32,
    },
    /// A function of the program.
    Function {
        /// Its first slot.
        start: usize,
    },
    /// Data of a packet, of which the bytes before `range` are known to be there.
    Packet {
        /// Bytes from the pointer's variable part on.
        range: u32,
    },
    /// Metadata before the packet, likewise.
    PacketMeta {
        /// Bytes from the pointer's variable part on.
        range: u32,
    },
    /// The end of a packet.
    PacketEnd,
}

/// A map that a program knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapRef {
    /// Slot among the program's maps.
    pub slot: usize,
    /// Whether it is one of those in that map instead.
    pub inner: bool,
}

/// What the verifier is told of a map.
#[derive(Clone, Debug)]
pub struct MapFacts {
    /// What it was created from.
    pub spec: MapSpec,
    /// What the maps in it are like, if it is a map of maps.
    pub inner: Option<MapSpec>,
    /// The value of a read-only, frozen array of one entry: it will never change.
    pub constant: Option<Vec<u8>>,
    /// Whether its values, or those of the maps in it, have a spin lock.
    pub has_lock: bool,
}

impl MapFacts {
    /// The facts of a map; `constant` is its value where that is frozen.
    #[must_use]
    pub fn new(map: &dyn crate::map::Map, constant: Option<Vec<u8>>) -> MapFacts {
        let (inner, inner_lock) = match map.holds() {
            crate::map::Holds::Maps(maps) => (Some(maps.shape().template.clone()), maps.shape().spin_lock),
            _ => (None, None),
        };
        MapFacts { spec: map.spec().clone(), inner, constant, has_lock: map.spin_lock().or(inner_lock).is_some() }
    }

    /// The facts of the maps of a program, before any is created; an error for a map that there cannot be.
    ///
    /// # Errors
    /// [`UnknownMapKind`].
    pub fn of_object(object: &Object, program: &Program) -> Result<Vec<MapFacts>, UnknownMapKind> {
        let defined = program.maps.iter().filter_map(|name| object.maps.iter().find(|def| def.name == *name));
        defined
            .map(|def| {
                let inner = def.inner.as_ref().map(|inner| inner.spec()).transpose()?;
                let constant = def.initial.clone().filter(|_| def.frozen);
                let inner_lock = def.inner.as_ref().and_then(|inner| inner.spin_lock);
                Ok(MapFacts { spec: def.spec()?, inner, constant, has_lock: def.spin_lock.or(inner_lock).is_some() })
            })
            .collect()
    }
}

impl Value {
    /// Any number.
    pub const UNKNOWN: Value = Value::Number(Number::new(Scalar::UNKNOWN, 0));

    /// A number that is known.
    #[must_use]
    pub const fn constant(value: u64) -> Value {
        Value::Number(Number::new(Scalar::constant(value), 0))
    }

    /// What it was made of.
    #[must_use]
    pub const fn from(&self) -> Origins {
        match self {
            Value::Unset => 0,
            Value::Number(number) => number.from,
            Value::Pointer(pointer) => pointer.from,
        }
    }

    /// The same, made of something else.
    #[must_use]
    pub const fn made_of(mut self, origins: Origins) -> Value {
        match &mut self {
            Value::Unset => {}
            Value::Number(number) => number.from = origins,
            Value::Pointer(pointer) => pointer.from = origins,
        }
        self
    }

    /// The id that it shares with others.
    #[must_use]
    pub const fn id(&self) -> u32 {
        match self {
            Value::Unset => 0,
            Value::Number(number) => number.id,
            Value::Pointer(pointer) => pointer.id,
        }
    }

    /// Whether it is a number that is known.
    #[must_use]
    pub const fn is_constant(&self) -> bool {
        matches!(self, Value::Number(number) if number.scalar.bits.is_constant())
    }

    /// Whether it is the constant 0.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        matches!(self, Value::Number(number) if number.scalar.as_constant() == Some(0))
    }

    /// As the kernel names it.
    #[must_use]
    pub const fn linux_name(&self) -> &'static str {
        match self {
            Value::Unset => "?",
            Value::Number(_) => "scalar",
            Value::Pointer(pointer) => pointer.linux_name(),
        }
    }
}

/// As the kernel's log has it: `map_value(off=8,umax=7)`, `fp-16`, `scalar()`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = match self {
            Value::Unset => return f.write_str("?"),
            Value::Number(number) => {
                return match number.scalar.as_constant() {
                    Some(_) => write!(f, "{:?}", number.scalar),
                    None => write!(f, "scalar({:?})", number.scalar),
                };
            }
            Value::Pointer(pointer) => pointer,
        };
        let constant = pointer.constant_offset();
        if let (Kind::Stack { .. }, Some(offset)) = (pointer.kind, constant) {
            return write!(f, "fp{offset}");
        }
        let mut parts = Vec::new();
        if pointer.id != 0 {
            parts.push(format!("id={}", pointer.id));
        }
        match constant {
            Some(0) => {}
            Some(offset) => parts.push(format!("off={offset}")),
            None => {
                if pointer.offset != 0 {
                    parts.push(format!("off={}", pointer.offset));
                }
                parts.push(format!("{:?}", pointer.variable));
            }
        }
        match pointer.kind {
            Kind::Record { size } | Kind::Memory { size } => parts.push(format!("sz={size}")),
            Kind::Packet { range } | Kind::PacketMeta { range } => parts.push(format!("r={range}")),
            _ => {}
        }
        write!(f, "{}({})", pointer.linux_name(), parts.join(","))
    }
}

/// Bytes of a stack slot.
pub const SLOT: i64 = 8;
/// Slots of a frame.
#[expect(clippy::cast_possible_truncation, reason = "64")]
pub const SLOTS: usize = (FRAME / SLOT as u64) as usize;

/// What is known of a byte on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Byte {
    /// Nothing was written to it.
    Unset,
    /// Anything.
    Any,
    /// Zero.
    Zero,
    /// A part of the slot's value.
    OfValue,
}

/// Eight bytes of stack.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Slot {
    /// Its bytes, lowest address first.
    pub bytes: [Byte; 8],
    /// What was stored there whole: the bytes `OfValue`, from the first on. `Unset` where nothing is.
    pub value: Value,
    /// What the bytes were made of.
    pub from: Origins,
}

impl Slot {
    /// Never written to.
    pub const FRESH: Slot = Slot { bytes: [Byte::Unset; 8], value: Value::Unset, from: 0 };

    /// How many bytes the value takes.
    #[must_use]
    pub fn value_size(&self) -> usize {
        self.bytes.iter().filter(|byte| **byte == Byte::OfValue).count()
    }

    /// All that it was made of.
    #[must_use]
    pub const fn origins(&self) -> Origins {
        self.from | self.value.from()
    }
}

/// As the kernel's log has it: a letter a byte, or the value.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value_size() == 8 {
            return self.value.fmt(f);
        }
        for byte in self.bytes.iter().rev() {
            f.write_str(match byte {
                Byte::Unset => "?",
                Byte::Any => "m",
                Byte::Zero => "0",
                Byte::OfValue => "",
            })?;
        }
        if self.value == Value::Unset { Ok(()) } else { self.value.fmt(f) }
    }
}
