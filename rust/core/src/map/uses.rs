//! What can be done with a map: by programs, through helpers that are given it, and by the bpf(2) side, by commands that
//! not every kind has.

/// What a helper does with the map that it is given. Linux's verifier refuses a call with a map of a kind that is not
/// for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum MapUse {
    /// Looks a value up by its key: `bpf_map_lookup_elem`.
    Lookup = 1 << 0,
    /// Sets a value: `bpf_map_update_elem`.
    Update = 1 << 1,
    /// Deletes a key: `bpf_map_delete_elem`.
    Delete = 1 << 2,
    /// Looks up the value of another CPU: `bpf_map_lookup_percpu_elem`.
    LookupPercpu = 1 << 3,
    /// Calls back for each entry: `bpf_for_each_map_elem`.
    ForEach = 1 << 4,
    /// Adds a value: `bpf_map_push_elem`.
    Push = 1 << 5,
    /// Takes a value out: `bpf_map_pop_elem`.
    Pop = 1 << 6,
    /// Reads the next value, or asks whether one is there: `bpf_map_peek_elem`.
    Peek = 1 << 7,
    /// Goes on in another program: `bpf_tail_call`.
    TailCall = 1 << 8,
    /// Writes a record of a perf event: `bpf_perf_event_output`.
    PerfOutput = 1 << 9,
    /// Writes records, or asks about them: `bpf_ringbuf_output` and its like.
    Ring = 1 << 10,
}

/// A command of bpf(2) that only some kinds have; others answer `ENOTSUPP`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Command {
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    LookupAndDelete = 1 << 0,
    /// `BPF_MAP_LOOKUP_BATCH`.
    LookupBatch = 1 << 1,
    /// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`.
    LookupAndDeleteBatch = 1 << 2,
    /// `BPF_MAP_UPDATE_BATCH`.
    UpdateBatch = 1 << 3,
    /// `BPF_MAP_DELETE_BATCH`.
    DeleteBatch = 1 << 4,
}

impl Command {
    /// Every one, with what the raw operations call it.
    pub const ALL: [(Command, &'static str); 5] = [
        (Command::LookupAndDelete, "lookup_and_delete"),
        (Command::LookupBatch, "lookup_batch"),
        (Command::LookupAndDeleteBatch, "lookup_and_delete_batch"),
        (Command::UpdateBatch, "update_batch"),
        (Command::DeleteBatch, "delete_batch"),
    ];

    /// Whether it reads.
    pub(super) const fn reads(self) -> bool {
        !matches!(self, Command::UpdateBatch | Command::DeleteBatch)
    }

    /// Whether it writes.
    pub(super) const fn writes(self) -> bool {
        !matches!(self, Command::LookupBatch)
    }
}

/// What is done with maps of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uses {
    helpers: u16,
    commands: u8,
}

impl Uses {
    /// These uses and commands.
    pub(super) const fn of(helpers: &[MapUse], commands: &[Command]) -> Uses {
        let mut uses = Uses { helpers: 0, commands: 0 };
        let mut i = 0;
        while i < helpers.len() {
            uses.helpers |= helpers[i] as u16;
            i += 1;
        }
        i = 0;
        while i < commands.len() {
            uses.commands |= commands[i] as u8;
            i += 1;
        }
        uses
    }

    /// Those of either.
    pub(super) const fn and(self, other: Uses) -> Uses {
        Uses { helpers: self.helpers | other.helpers, commands: self.commands | other.commands }
    }

    /// Whether a helper may do this with it.
    #[must_use]
    pub const fn by_helper(self, map_use: MapUse) -> bool {
        self.helpers & map_use as u16 != 0
    }

    /// Whether it has the command.
    #[must_use]
    pub const fn by_command(self, command: Command) -> bool {
        self.commands & command as u8 != 0
    }
}
