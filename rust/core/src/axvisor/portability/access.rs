//! Loads and stores: which gaps they meet, and what is known of what they move.

use super::state::State;
use super::value::{Own, Places, Value};
use super::walk::{ERRNOS_WORK, Walk};
use crate::isa::{AluOp, Reg, Size, Width};

impl Walk<'_> {
    /// What a load gives.
    pub(super) fn load(&mut self, at: usize, state: &State, base: Reg, offset: i16, size: Size) -> Value {
        let base = state.get(base).moved(Some(offset.into()));
        let bytes = i32::from(size.bytes());
        self.touched(at, state, &base, false);
        let mut value = match base.own {
            Own::No => Value::default(),
            Own::At(from) => {
                let (value, parts) = state.load(from, bytes);
                for part in parts {
                    self.used(at, part);
                }
                if base.on_stack { value } else { value.join(&Value::default()) }
            }
            Own::Anywhere => {
                let all = state.spilled(None).fold(Value::default(), |all, value| all.join(&value.address()));
                state.spilled(None).for_each(|value| self.used(at, value));
                all
            }
        };
        let elsewhere = base.foreign || base.former || !base.may_point();
        if elsewhere || (base.own != Own::No && state.shared) {
            value = value.join(&self.escaped);
        }
        if bytes == 8 {
            return value;
        }
        // A part of an address is none.
        let number = value.number.map(|number| number & ((1 << (8 * bytes)) - 1));
        Value { number, outcome: value.outcome, ..Value::default() }
    }

    pub(super) fn store(&mut self, at: usize, state: &mut State, (base, offset, size): (Reg, i16, Size), value: Value) {
        let base = state.get(base).moved(Some(offset.into()));
        let bytes = i32::from(size.bytes());
        self.touched(at, state, &base, true);
        if let Some(to) = base.stack_offset() {
            if state.shared {
                self.escape(at, state, &value);
            }
            let value = self.stored(at, value, size);
            if state.spill(to, bytes, value.clone()) {
                return;
            }
            self.share(at, state);
            self.escape(at, state, &value);
            return;
        }
        self.escape(at, state, &value);
        if base.own != Own::No || state.shared {
            // It may be there, and what was there may not.
            state.overwrite(None);
            state.shared |= base.own != Own::No;
        }
    }

    /// What a store of this size leaves of a value.
    fn stored(&mut self, at: usize, value: Value, size: Size) -> Value {
        if size == Size::Double {
            return value;
        }
        let outcome = value.outcome.as_ref().filter(|_| size == Size::Word).and_then(|outcome| {
            self.work += ERRNOS_WORK;
            outcome.computed(Width::W32, AluOp::Add, 0)
        });
        if outcome.is_none() {
            self.used(at, &value);
        }
        Value { number: value.number, outcome: outcome.map(Box::new), ..Value::default() }
    }

    /// A value goes to where others may take it from.
    fn escape(&mut self, at: usize, state: &mut State, value: &Value) {
        self.used(at, value);
        if value.own != Own::No {
            self.share(at, state);
        }
        let mut escaped = value.address().handed_on();
        let inner = state.function != 0 && value.own != Own::No;
        escaped.former |= inner;
        self.escaped = self.escaped.join(&escaped);
    }

    /// The address of the frame goes to somebody else.
    pub(super) fn share(&mut self, at: usize, state: &mut State) {
        state.shared = true;
        let spilled: Vec<Value> = state.spilled(None).cloned().collect();
        for value in spilled {
            self.used(at, &value);
            self.escaped = self.escaped.join(&value.address().handed_on());
        }
    }

    /// A call of what nobody knows: r1 to r5 go there.
    pub(super) fn escape_all(&mut self, at: usize, state: &mut State) {
        for number in 1..=5 {
            if let Some(value) = Reg::new(number).map(|reg| state.get(reg).clone()) {
                self.escape(at, state, &value);
            }
        }
    }

    /// An access to memory at this address.
    pub(super) fn touched(&mut self, at: usize, state: &State, address: &Value, stored: bool) {
        if address.context {
            self.met.context(at, self.program_type, stored);
        }
        if stored && address.looked_up.is_any() {
            self.met.rows(at, self.met.by.value_store, address.looked_up);
        }
        if !stored && address.stale && address.looked_up.is_any() {
            self.met.rows(at, self.met.by.stale_value, address.looked_up);
        }
        if address.former {
            self.met.rows(at, self.met.by.former_frame, Places::Nowhere);
        }
        let offset = match address.own {
            Own::No => return,
            Own::At(offset) => offset,
            Own::Anywhere => -512,
        };
        let known = self.deepest.entry(at).or_insert((state.function, offset));
        known.1 = known.1.min(offset);
    }
}
