"""Every test here begins and ends without a default bench."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import axebpf
import pytest
from axebpf import Bench
from axebpf._default import set_default_bench

TABLE = Path(__file__).parent.parent / "data" / "tracepoints.txt"


@pytest.fixture(autouse=True)
def _no_default_bench_is_left() -> Iterator[None]:
    yield
    if axebpf.is_initialized():
        axebpf.default_bench().close()
    set_default_bench(None)


@pytest.fixture
def default_bench() -> Bench:
    """A default bench."""
    return axebpf.init()


class Row(NamedTuple):
    """A tracepoint as the table says it is, which does not come from our code."""

    name: str
    id: int
    size: int
    fields: list[tuple[str, str, int]]
    """Name, type and offset of each field."""

    @property
    def event(self) -> str:
        return self.name.split(":")[1]


def rows() -> list[Row]:
    """The 29 rows of the table, by id."""
    out = []
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            name, id, size, *fields = line.split()
            parts = [field.split("=")[0].replace("@", ":").split(":") for field in fields]
            out.append(Row(name, int(id), int(size), [(f, kind, int(offset)) for f, kind, offset in parts]))
    return out
