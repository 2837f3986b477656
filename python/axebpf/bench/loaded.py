"""What a load has made of an object: programs, maps, global variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from axebpf.bench.program import Link, Program
from axebpf.btf import Codec, codec_of
from axebpf.errors import AttachError, NotFound, did_you_mean
from axebpf.maps import Map, MapTable

if TYPE_CHECKING:
    from axebpf import _native
    from axebpf.bench import Bench

__all__ = ["Globals", "LoadedObject", "programs_of"]


class Globals(Mapping[str, Any]):
    """The global variables of an object, typed by BTF; those that are not const can be set."""

    def __init__(self, entries: list[dict[str, Any]], maps: MapTable) -> None:
        self._entries: dict[str, tuple[str, int, Codec]] = {
            entry["name"]: (entry["map"], entry["offset"], codec_of(entry["layout"])) for entry in entries
        }
        self._maps = maps

    def _find(self, name: str) -> tuple[Map, int, Codec]:
        if name not in self._entries:
            raise NotFound(f"no global variable {name}{did_you_mean(name, self._entries)}")
        section, offset, codec = self._entries[name]
        return self._maps[section], offset, codec

    def __getitem__(self, name: str) -> Any:
        """The value of a variable now. Raises NotFound, which names the nearest one."""
        section, offset, codec = self._find(name)
        data = section.lookup(bytes(4)) or b""
        return codec.decode(data[offset : offset + codec.size])

    def __setitem__(self, name: str, value: Any) -> None:
        """Sets a variable.

        Raises MapError EPERM for a const one (give it to `load(rodata=…)`), TypeError or ValueError for a value that it
        cannot hold.
        """
        section, offset, codec = self._find(name)
        data = bytearray(section.lookup(bytes(4)) or b"")
        try:
            data[offset : offset + codec.size] = codec.encode(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"the variable {name}: {error}") from None
        section.update(bytes(4), bytes(data))

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Globals {dict(self)}>"


class LoadedObject(Mapping[str, Program]):
    """What `Bench.load` made of an object: programs by name, `maps`, `globals`."""

    def __init__(self, native: _native.Object, programs: list[Program], maps: MapTable, bench_maps: MapTable) -> None:
        self._native = native
        self._bench_maps = bench_maps
        self._programs = {program.name: program for program in programs}
        self.maps = maps
        """The object's maps by name, data sections among them."""
        self.globals = Globals(native.globals, maps)
        """The object's global variables."""
        self.license = native.license
        """The licence string."""
        self.warnings = native.warnings
        """What the loader passed over."""

    def __getitem__(self, name: str) -> Program:
        """A program. Raises NotFound, which names the nearest one."""
        if name not in self._programs:
            raise NotFound(f"{self._native.file} has no program {name}{did_you_mean(name, self._programs)}")
        return self._programs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._programs)

    def __len__(self) -> int:
        return len(self._programs)

    def attach(self) -> list[Link]:
        """Attaches every program whose section names a tracepoint."""
        return [program.attach() for program in self._programs.values() if program.target is not None]

    def unload(self, *, force: bool = False) -> None:
        """Takes its programs out of the bench, and its maps out of `bench.maps`; `progs.maps` keeps them.

        Raises AttachError while a program is attached; `force=True` detaches it.
        """
        for program in self._programs.values():
            if program.loaded:
                program.unload(force=force)
        for loaded_map in self.maps.values():
            self._bench_maps.destroy(loaded_map)

    def __repr__(self) -> str:
        return f"<LoadedObject {self._native.file}: {', '.join(self._programs)}>"


def programs_of(bench: Bench, what: Any) -> list[Program]:
    """The programs of a bench that are meant by a program, an object, or several of them; each once.

    Raises AttachError for one that is not in the bench, and TypeError for anything else.
    """
    if isinstance(what, Program):
        found = [what]
    elif isinstance(what, LoadedObject):
        found = list(what.values())
    elif isinstance(what, Iterable) and not isinstance(what, (str, bytes)):
        found = [program for one in what for program in programs_of(bench, one)]
    else:
        raise TypeError(f"expected a program, or what load() gave, not {type(what).__name__}")
    for program in found:
        if program._bench is not bench or not program.loaded:
            raise AttachError("it is not in this bench", program=program.name)
    return list(dict.fromkeys(found))
