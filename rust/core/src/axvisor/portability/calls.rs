//! What a call of a helper does to what is known.

use super::state::State;
use super::value::{Own, Places, Value};
use super::walk::Walk;
use crate::axvisor::HELPERS;
use crate::axvisor::gaps::{Argument, Call};
use crate::helper::{self, ArgKind};
use crate::isa::Reg;

const LOOKUP: u32 = 1;
const UPDATE: u32 = 2;
const DELETE: u32 = 3;
const PRINTK: u32 = 6;

/// What a helper does with an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Takes it as it is.
    Takes,
    /// Reads so many bytes of memory there; all that there are without a number.
    Reads(Option<i32>),
    /// Stores so many bytes there.
    Stores(Option<i32>),
}

impl Walk<'_> {
    pub(super) fn helper(&mut self, at: usize, id: u32, state: &mut State) {
        let args: [Value; 5] =
            std::array::from_fn(|i| Reg::new(i as u8 + 1).map_or_else(Value::default, |reg| state.get(reg).clone()));
        let map = self.map_of(&args[0]);
        let known = |value: &Value| Argument {
            number: value.number,
            points_to: value.stack_offset().and_then(|offset| state.number_at(offset)),
            is_memory: value.stack_offset().is_some_and(|offset| (-512..0).contains(&offset)),
        };
        let call = Call { id, map, args: args.each_ref().map(known) };
        let outcome = self.met.call(at, &call);

        let kinds = helper::by_id(id).and_then(|helper| helper.implementation.as_ref()).map(|known| known.args);
        for (number, value) in args.iter().enumerate() {
            let size = || args.get(number + 1).and_then(|size| size.number).and_then(|size| i32::try_from(size).ok());
            let of_map = |size: fn(&crate::map::MapSpec) -> u32| map.and_then(|spec| i32::try_from(size(spec)).ok());
            let does = match kinds.map(|kinds| kinds.get(number)) {
                // Everything that it prints, too.
                Some(None) if id == PRINTK => Does::Takes,
                Some(None) => continue,
                Some(Some(ArgKind::MapKey)) => Does::Reads(of_map(|spec| spec.key_size)),
                Some(Some(ArgKind::MapValue)) => Does::Reads(of_map(|spec| spec.value_size)),
                Some(Some(ArgKind::MapValueOut)) => Does::Stores(of_map(|spec| spec.value_size)),
                Some(Some(ArgKind::MemWrite | ArgKind::MemWriteOrNull)) => Does::Stores(size()),
                Some(Some(ArgKind::MemRead | ArgKind::MemReadOrNull)) => Does::Reads(size()),
                // The address of `bpf_probe_read`, which both read.
                Some(Some(ArgKind::Anything)) if call.is_probe_read() => {
                    Does::Reads(args[1].number.and_then(|n| i32::try_from(n).ok()))
                }
                Some(Some(ArgKind::Context)) => continue,
                Some(Some(_)) => Does::Takes,
                // Nobody knows what it does.
                None if HELPERS.iter().any(|helper| helper.id == id) => Does::Takes,
                None => Does::Stores(None),
            };
            self.argument(at, state, value, does);
        }

        let mut r0 = Value { outcome: outcome.map(Box::new), ..Value::default() };
        match id {
            LOOKUP => {
                (r0.looked_up, r0.looked_up_in) = (Places::One(at), args[0].map);
            }
            UPDATE | DELETE => {
                let changes = self.changes_of(&args[0]);
                self.changed(state, &changes);
            }
            _ => {}
        }
        state.after_call(r0);
    }

    fn argument(&mut self, at: usize, state: &mut State, value: &Value, does: Does) {
        self.used(at, value);
        let (size, stores) = match does {
            Does::Takes => return,
            Does::Reads(size) => (size, false),
            Does::Stores(size) => (size, true),
        };
        self.touched(at, state, value, stores);
        let part = match value.own {
            Own::No if stores && state.shared => None,
            Own::No => return,
            Own::At(offset) => Some((offset, size.unwrap_or(-offset).max(0))),
            Own::Anywhere => None,
        };
        if stores {
            state.overwrite(part);
        } else {
            let read: Vec<Value> = state.spilled(part).cloned().collect();
            read.iter().for_each(|value| self.used(at, value));
        }
    }
}
