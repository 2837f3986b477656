"""A bench like another one: the same programs on the same tracepoints, on another target, engine or maps."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Sequence
from typing import Any, Self

from axebpf.array_map import ArrayMap
from axebpf.bench import AXVISOR_MAPS, Bench
from axebpf.bench.origin import CodeOrigin, MapOrigin, ObjectOrigin
from axebpf.bench.program import Link, Program
from axebpf.errors import AttachError, MapError
from axebpf.maps import HashMap, Map, MapTable
from axebpf.numbered_maps import MapOfMaps, ProgramArray
from axebpf.queue_map import QueueMap
from axebpf.tracepoints import BUILTIN

__all__ = ["Twin", "bench_like"]


def bench_like(bench: Bench, options: dict[str, Any]) -> Bench:
    """A fresh bench with the options of another one but for these. Raises LoadError for those that cannot be."""
    asked = bench._options | options
    if asked["target"] == "axvisor" or asked["maps"] == AXVISOR_MAPS:
        asked["lru"] = "exact"  # those maps have an order of their own
    return Bench(**asked)


class Twin:
    r"""A fresh bench with programs of another one, their maps, and what they need; also a context manager.

    The programs are loaded from what they were loaded from, with the same options, and attached where they are
    attached: to the same tracepoints, in the same order, with the same cookie and filter. One that is attached nowhere
    is attached to what its section names, if that is a tracepoint. Arrays, hashes, queues and global variables begin
    with what they hold in the other bench now, maps of maps and program arrays with the new maps and programs that
    stand for theirs; programs that are only tail-called come along, and are attached nowhere. Tracepoints of one's own,
    helpers in Python, symbols and the clock's time are the same too; Python callbacks, the trace, filters of the trace
    and statistics are not taken along.

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
        self.bench = bench_like(bench, options)
        """The new bench."""
        try:
            self._furnish(bench)
            reached = _Reached(bench, chosen)
            self._load(reached)
            for number, old in reached.maps.items():
                self._copy(old, self.maps[number])
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

    def _load(self, reached: _Reached) -> None:
        """Programs of one load of an object are loaded together; those of raw instructions one by one."""
        programs = reached.programs.values()
        # Raw instructions may use the maps of an object.
        origins = [*(program._origin for program in programs), *(old._origin for old in reached.maps.values())]
        for origin in dict.fromkeys(origin for origin in origins if isinstance(origin, ObjectOrigin)):
            members = [program for program in programs if program._origin is origin]
            made, table = self._place(origin, members)
            for program in members:
                self.programs[program.id] = made[program.name]
            for number, old in reached.maps.items():
                if old._origin is origin:
                    self.maps[number] = table[old.name]
        for old in reached.maps.values():
            self._map(old)
        for program in programs:
            if isinstance(program._origin, CodeOrigin):
                self.programs[program.id] = self._code(program._origin)

    def _place(self, origin: ObjectOrigin, members: Sequence[Program]) -> tuple[dict[str, Program], MapTable]:
        only = list(dict.fromkeys(program.name for program in members))
        loaded, table = self.bench._place_object(origin.native, origin.rodata, origin.max_entries, origin.types, only)
        self.bench._programs.extend(loaded)
        return {program.name: program for program in loaded}, table

    def _code(self, origin: CodeOrigin) -> Program:
        maps = {fd: self.maps[old.id] for fd, old in origin.maps.items()}
        return self.bench.load_bytes(origin.code, type=origin.type, maps=maps, license=origin.license, name=origin.name)

    def _map(self, old: Map) -> Map:
        """The new map for an old one; those of objects are there already."""
        if old.id not in self.maps:
            if not isinstance(old._origin, MapOrigin):
                raise MapError(errno.EBADF, "it is in a map of maps and no longer in the bench", map=old.name)
            arguments, inner = old._origin
            template = None if inner is None else self._map(inner)
            self.maps[old.id] = self.bench.create_map(**arguments, inner=template)
        return self.maps[old.id]

    def _attach(self, bench: Bench, chosen: Sequence[Program]) -> None:
        attached = set()
        numbers = {program.id for program in chosen}
        for link in bench._links:
            if link.program.id in numbers and link.attached:
                attached.add(link.program.id)
                place, program = link.tracepoint.name, self.programs[link.program.id]
                self.links.append(program.attach(place, cookie=link.cookie, filter=link.filter))
        for program in chosen:
            if program.id not in attached and program.target is not None:
                self.links.append(self.programs[program.id].attach())

    def _copy(self, old: Map, new: Map) -> None:
        """Gives a new map the entries of an old one."""
        # Maps that the bench may not read or write are what the load has made of them, constants among them.
        with contextlib.suppress(MapError):
            if isinstance(old, (MapOfMaps, ProgramArray)):
                made: dict[int, Any] = self.maps if isinstance(old, MapOfMaps) else self.programs
                entries = {key: int.from_bytes(number, "little") for key, number in old._entries()}
                for key, _ in list(new._entries()):
                    if key not in entries:  # the object begins with it
                        new.delete(key)
                for key, number in entries.items():
                    new._native.update(key, made[number].id.to_bytes(4, "little"))
            elif isinstance(old, (ArrayMap, HashMap, QueueMap)):
                _copy_values(old, new)

    def close(self) -> None:
        """Closes the new bench."""
        self.bench.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Twin: {self.bench!r}>"


class _Reached:
    """Programs, and what they can reach: maps, what is in maps of maps, programs that they can tail-call."""

    def __init__(self, bench: Bench, programs: Iterable[Program]) -> None:
        self._bench = bench
        self.programs: dict[int, Program] = {}
        self.maps: dict[int, Map] = {}
        waiting: list[Program | Map] = list(programs)
        while waiting:
            thing = waiting.pop()
            known: dict[int, Any] = self.maps if isinstance(thing, Map) else self.programs
            if thing.id not in known:
                known[thing.id] = thing
                waiting += self._next(thing)
        self.programs = dict(sorted(self.programs.items()))
        self.maps = dict(sorted(self.maps.items()))

    def _next(self, thing: Program | Map) -> Iterable[Program | Map]:
        if isinstance(thing._origin, ObjectOrigin):
            yield from (other for other in self._bench.maps.by_id.values() if other._origin is thing._origin)
        if not isinstance(thing, Map):
            yield from thing.maps
            return
        if isinstance(thing._origin, MapOrigin) and thing._origin.inner is not None:
            yield thing._origin.inner
        if isinstance(thing, (MapOfMaps, ProgramArray)):
            with contextlib.suppress(MapError):  # the bench may not read it
                yield from thing.values()


def _copy_values(old: ArrayMap | HashMap | QueueMap, new: Map) -> None:
    entries = list(old._entries())
    if old.type == "stack":
        entries.reverse()  # what is pushed last is taken first
    empty = bytes(len(entries[0][1])) if isinstance(old, ArrayMap) and entries else None
    for key, value in entries:
        if value != empty:
            new._native.push(value) if isinstance(old, QueueMap) else new._native.update(key, value)
