//! All tracepoints of a bench, by name and by id.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::error::EventError;
use super::tracepoint::{HEADER_SIZE, TracepointSpec};
use crate::nearest::nearest;

/// Where a tracepoint stands in its registry: in the order of definition, from 0, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub usize);

/// The tracepoints of a bench and whether each enters the trace.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: Vec<Entry>,
    by_name: HashMap<String, Slot>,
    by_id: HashMap<u16, Slot>,
    /// Subsystem to event to slot: the order of lists.
    sorted: BTreeMap<String, BTreeMap<String, Slot>>,
}

#[derive(Clone, Debug)]
struct Entry {
    spec: Arc<TracepointSpec>,
    enabled: bool,
}

impl Registry {
    /// Adds a tracepoint, disabled.
    ///
    /// # Errors
    /// [`EventError::DuplicateName`] and [`EventError::DuplicateId`], which name the holder.
    pub fn define(&mut self, spec: TracepointSpec) -> Result<Slot, EventError> {
        if let Some(holder) = self.by_name.get(spec.name()).and_then(|&slot| self.spec(slot)) {
            return Err(EventError::DuplicateName { name: holder.name().to_owned(), id: holder.id() });
        }
        if let Some(holder) = self.by_id(spec.id()).ok().and_then(|slot| self.spec(slot)) {
            let (name, holder) = (spec.name().to_owned(), holder.name().to_owned());
            return Err(EventError::DuplicateId { name, id: spec.id(), holder });
        }
        let slot = Slot(self.entries.len());
        self.by_name.insert(spec.name().to_owned(), slot);
        self.by_id.insert(spec.id(), slot);
        self.sorted.entry(spec.subsystem().to_owned()).or_default().insert(spec.event().to_owned(), slot);
        self.entries.push(Entry { spec: Arc::new(spec), enabled: false });
        Ok(slot)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tracepoint in a slot.
    #[must_use]
    pub fn spec(&self, slot: Slot) -> Option<&Arc<TracepointSpec>> {
        self.entries.get(slot.0).map(|entry| &entry.spec)
    }

    /// The slot of a tracepoint, by its `subsystem:event`.
    ///
    /// # Errors
    /// [`EventError::InvalidName`] for a name without a colon, [`EventError::NotFound`], which names the nearest one.
    pub fn by_name(&self, name: &str) -> Result<Slot, EventError> {
        if let Some(&slot) = self.by_name.get(name) {
            return Ok(slot);
        }
        if !name.contains(':') {
            return Err(EventError::InvalidName { name: name.to_owned() });
        }
        let nearest = nearest(name, self.entries.iter().map(|entry| entry.spec.name()));
        Err(EventError::NotFound { name: name.to_owned(), nearest })
    }

    /// The slot of a tracepoint, by its id.
    ///
    /// # Errors
    /// [`EventError::UnknownId`].
    pub fn by_id(&self, id: u16) -> Result<Slot, EventError> {
        self.by_id.get(&id).copied().ok_or(EventError::UnknownId { id })
    }

    /// The tracepoint of a record: the record's first two bytes are the id.
    ///
    /// # Errors
    /// [`EventError::NoHeader`] for less than a header, [`EventError::UnknownId`].
    pub fn of_record(&self, record: &[u8]) -> Result<&Arc<TracepointSpec>, EventError> {
        let header: &[u8; HEADER_SIZE] =
            record.first_chunk().ok_or(EventError::NoHeader { found: record.len(), expected: HEADER_SIZE })?;
        let id = u16::from_le_bytes([header[0], header[1]]);
        self.by_id(id).ok().and_then(|slot| self.spec(slot)).ok_or(EventError::UnknownId { id })
    }

    /// All slots, by subsystem, then by event.
    pub fn sorted(&self) -> impl Iterator<Item = Slot> {
        self.sorted.values().flat_map(|events| events.values().copied())
    }

    /// The slots of a subsystem, by event.
    ///
    /// # Errors
    /// [`EventError::UnknownSubsystem`], which names the nearest one.
    pub fn subsystem(&self, subsystem: &str) -> Result<Vec<Slot>, EventError> {
        let events = self.sorted.get(subsystem).ok_or_else(|| EventError::UnknownSubsystem {
            subsystem: subsystem.to_owned(),
            nearest: nearest(subsystem, self.sorted.keys().map(String::as_str)),
        })?;
        Ok(events.values().copied().collect())
    }

    /// Whether events of a tracepoint enter the trace; false for a slot that there is not.
    #[inline]
    #[must_use]
    pub fn is_enabled(&self, slot: Slot) -> bool {
        self.entries.get(slot.0).is_some_and(|entry| entry.enabled)
    }

    /// Says whether events of a tracepoint enter the trace.
    pub fn set_enabled(&mut self, slot: Slot, enabled: bool) {
        if let Some(entry) = self.entries.get_mut(slot.0) {
            entry.enabled = enabled;
        }
    }

    /// Says so for all of a subsystem; returns how many those are.
    ///
    /// # Errors
    /// [`EventError::UnknownSubsystem`].
    pub fn set_subsystem_enabled(&mut self, subsystem: &str, enabled: bool) -> Result<usize, EventError> {
        let slots = self.subsystem(subsystem)?;
        slots.iter().for_each(|&slot| self.set_enabled(slot, enabled));
        Ok(slots.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let names = ["vmm:vm_boot", "vmm:vcpu_run_exit", "shell:shell_init", "vmm:vcpu_halt", "vmm:cpu_up"];
        for (id, name) in (10..).zip(names) {
            registry.define(TracepointSpec::new(name, id, vec![]).unwrap()).unwrap();
        }
        registry
    }

    #[test]
    fn tracepoints_are_found_by_name_and_id() {
        let registry = registry();
        assert_eq!((registry.len(), registry.is_empty()), (5, false));
        let slot = registry.by_name("vmm:vcpu_run_exit").unwrap();
        assert_eq!(registry.by_id(11), Ok(slot));
        assert_eq!(registry.spec(slot).unwrap().id(), 11);
        assert_eq!(registry.by_id(15), Err(EventError::UnknownId { id: 15 }));
        assert!(registry.spec(Slot(5)).is_none());
    }

    #[test]
    fn a_record_says_of_which_tracepoint_it_is() {
        let registry = registry();
        let of = |record: &[u8]| registry.of_record(record).map(|spec| spec.name().to_owned());
        assert_eq!(of(&[11, 0, 0, 0, 0, 0, 0, 0]), Ok("vmm:vcpu_run_exit".to_owned()));
        assert_eq!(of(&[11, 1, 0, 0, 0, 0, 0, 0]), Err(EventError::UnknownId { id: 267 }));
        assert_eq!(of(&[11; 7]), Err(EventError::NoHeader { found: 7, expected: 8 }));
    }

    #[test]
    fn an_unknown_name_names_the_nearest() {
        let registry = registry();
        let message = |name: &str| registry.by_name(name).unwrap_err().to_string();
        assert_eq!(message("vmm:vcpu_exit"), "no tracepoint vmm:vcpu_exit; did you mean vmm:vcpu_run_exit?");
        assert_eq!(message("vmm:vm_boot:extra"), "no tracepoint vmm:vm_boot:extra; did you mean vmm:vm_boot?");
        assert_eq!(message("sched:xyz"), "no tracepoint sched:xyz");
        assert!(matches!(registry.by_name("vm_boot"), Err(EventError::InvalidName { name }) if name == "vm_boot"));
        let long = format!("vmm:{}", "x".repeat(1 << 20));
        assert!(matches!(registry.by_name(&long), Err(EventError::NotFound { nearest: None, .. })));
    }

    #[test]
    fn names_and_ids_are_unique() {
        let mut registry = registry();
        let define =
            |registry: &mut Registry, name, id| registry.define(TracepointSpec::new(name, id, vec![]).unwrap());
        let error = define(&mut registry, "vmm:vm_boot", 99).unwrap_err();
        assert_eq!(error, EventError::DuplicateName { name: "vmm:vm_boot".to_owned(), id: 10 });
        let error = define(&mut registry, "vmm:other", 12).unwrap_err();
        assert_eq!(error.to_string(), "vmm:other cannot have id 12: shell:shell_init has it");
        assert_eq!(registry.len(), 5);
        assert!(define(&mut registry, "shell:vm_boot", 99).is_ok());
    }

    #[test]
    fn lists_are_sorted_by_subsystem_then_event() {
        let registry = registry();
        let names: Vec<&str> = registry.sorted().map(|slot| registry.spec(slot).unwrap().name()).collect();
        assert_eq!(names, ["shell:shell_init", "vmm:cpu_up", "vmm:vcpu_halt", "vmm:vcpu_run_exit", "vmm:vm_boot"]);
        assert_eq!(registry.subsystem("vmm").unwrap().len(), 4);
    }

    #[test]
    fn events_start_disabled() {
        let mut registry = registry();
        assert!(registry.sorted().all(|slot| !registry.is_enabled(slot)));
        let slot = registry.by_name("vmm:cpu_up").unwrap();
        registry.set_enabled(slot, true);
        assert_eq!(registry.sorted().filter(|&slot| registry.is_enabled(slot)).collect::<Vec<_>>(), [slot]);
        assert_eq!(registry.set_subsystem_enabled("shell", true), Ok(1));
        assert_eq!(registry.set_subsystem_enabled("vmm", false), Ok(4));
        assert_eq!(registry.sorted().filter(|&slot| registry.is_enabled(slot)).count(), 1);
        let error = registry.set_subsystem_enabled("shel", true).unwrap_err();
        assert_eq!(error.to_string(), "no subsystem shel; did you mean shell?");
        registry.set_enabled(Slot(99), true);
        assert!(!registry.is_enabled(Slot(99)));
    }
}
