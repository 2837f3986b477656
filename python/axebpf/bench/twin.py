"""A bench like another one: the same programs on the same tracepoints, on another target, engine or maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Self

from axebpf.bench import Bench
from axebpf.bench.origin import CodeOrigin, MapOrigin, ObjectOrigin
from axebpf.bench.program import Link, Program
from axebpf.errors import AttachError, MapError
from axebpf.maps import ArrayMap, HashMap, Map, MapTable, QueueMap
from axebpf.tracepoints import BUILTIN

__all__ = ["Twin"]


class Twin:
    r"""A fresh bench with programs of another one, their maps, and what they need; also a context manager.

    The programs are loaded from what they were loaded from, with the same options, and attached where they are
    attached: to the same tracepoints, in the same order, with the same cookie and filter. One that is attached nowhere
    is attached to what its section names, if that is a tracepoint. Arrays, hashes, queues and global variables begin
    with what they hold in the other bench now. Tracepoints of one's own, helpers in Python, symbols and the clock's
    time are the same too; Python callbacks, the trace, filters of the trace and statistics are not taken along.

    `options` are those of `Bench` that are to be different. Raises LoadError, MapError and AttachError where the new
    bench refuses a program, a map or a place; then nothing is left behind. The other bench is not touched.

    >>> from axebpf import Bench, assemble
    >>> bench = Bench(seed=7)
    >>> program = bench.load_bytes(assemble("r0 = -7\nr0 s/= 2\nexit"), type="mem")
    >>> with Twin(bench, [program], target="axvisor") as twin:
    ...     hex(program.run().r0), hex(twin.programs[program.id].run().r0)
    ('0xfffffffffffffffd', '0x7ffffffffffffffc')
    """

    def __init__(self, bench: Bench, programs: Iterable[Program], **options: Any) -> None:
        self.programs: dict[int, Program] = {}
        """The new programs by the number of the old ones."""
        self.maps: dict[int, Map] = {}
        """The new maps by the number of the old ones."""
        self.links: list[Link] = []
        """Where the new programs are attached."""
        chosen = list(programs)
        for program in chosen:
            if program._bench is not bench or not program.loaded:
                raise AttachError("it is not in this bench", program=program.name)
        self.bench = Bench(**bench._options | options)
        """The new bench."""
        try:
            self._furnish(bench)
            self._load(bench, chosen)
            for number, made in self.maps.items():
                _copy(bench.maps.by_id.get(number), made)
            self._attach(bench, chosen)
        except BaseException:
            self.close()
            raise

    def _furnish(self, bench: Bench) -> None:
        """What programs may need before they are loaded."""
        for handle in bench._by_slot[len(BUILTIN) :]:
            self.bench.define(handle.declaration)
        self.bench._native.helpers.update(bench._native.helpers)
        self.bench._helper_names.update(bench._helper_names)
        if bench.has_symbols:
            self.bench.symbols = bench.symbols
        if self.bench.clock.mode != "real":
            self.bench.clock.set(bench.clock.now)
        for cpu in range(min(bench.cpus, self.bench.cpus)):
            self.bench._native.set_vm_context(cpu, bench._native.vm_context(cpu))

    def _load(self, bench: Bench, chosen: Sequence[Program]) -> None:
        """Programs of one load of an object are loaded together; those of raw instructions one by one."""
        objects: dict[ObjectOrigin, list[Program]] = {}
        for program in chosen:
            if isinstance(program._origin, ObjectOrigin):
                objects.setdefault(program._origin, []).append(program)
            else:
                # Raw instructions may use the maps of an object.
                for used in program._origin.maps.values():
                    if isinstance(used._origin, ObjectOrigin):
                        objects.setdefault(used._origin, [])
        for origin, members in objects.items():
            made, table = self._place(origin, members)
            for program in members:
                self.programs[program.id] = made[program.name]
            for number, old in bench.maps.by_id.items():
                if old._origin is origin:
                    self.maps[number] = table[old.name]
        for program in chosen:
            if isinstance(program._origin, CodeOrigin):
                self.programs[program.id] = self._code(program._origin)

    def _place(self, origin: ObjectOrigin, members: Sequence[Program]) -> tuple[dict[str, Program], MapTable]:
        only = list(dict.fromkeys(program.name for program in members))
        loaded, table = self.bench._place_object(origin.native, origin.rodata, origin.max_entries, origin.types, only)
        self.bench._programs.extend(loaded)
        return {program.name: program for program in loaded}, table

    def _code(self, origin: CodeOrigin) -> Program:
        maps = {fd: self.maps.get(old.id) or self._map(old) for fd, old in origin.maps.items()}
        return self.bench.load_bytes(origin.code, type=origin.type, maps=maps, license=origin.license, name=origin.name)

    def _map(self, old: Map) -> Map:
        origin = old._origin
        assert isinstance(origin, MapOrigin), "those of objects are there already"
        made: Map = self.bench.create_map(**origin.arguments)
        self.maps[old.id] = made
        return made

    def _attach(self, bench: Bench, chosen: Sequence[Program]) -> None:
        attached = set()
        for link in bench._links:
            program = self.programs.get(link.program.id)
            if program is not None and link.attached:
                attached.add(link.program.id)
                place = link.tracepoint.name
                self.links.append(program.attach(place, cookie=link.cookie, filter=link.filter))
        for program in chosen:
            if program.id not in attached and program.target is not None:
                self.links.append(self.programs[program.id].attach())

    def close(self) -> None:
        """Closes the new bench."""
        self.bench.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Twin: {self.bench!r}>"


def _copy(old: Map | None, new: Map) -> None:
    """Gives a new map the entries of an old one."""
    if not isinstance(old, (ArrayMap, HashMap, QueueMap)):
        return
    # Maps that the bench may not read or write are what the load has made of them, constants among them.
    with contextlib.suppress(MapError):
        entries = list(old._entries())
        if old.type == "stack":
            entries.reverse()  # what is pushed last is taken first
        empty = bytes(len(entries[0][1])) if isinstance(old, ArrayMap) and entries else None
        for key, value in entries:
            if value != empty:
                new._native.push(value) if isinstance(old, QueueMap) else new._native.update(key, value)
