"""The default bench, for tests of the seed's modules."""

from collections.abc import Iterator

import axebpf
import pytest
from axebpf import Bench
from axebpf._default import set_default_bench


@pytest.fixture
def default_bench() -> Iterator[Bench]:
    """A default bench, closed and forgotten afterwards."""
    bench = axebpf.init()
    yield bench
    bench.close()
    set_default_bench(None)
