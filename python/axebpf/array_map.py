"""Arrays (`array`, `percpu_array`): values by index, in slices, and as NumPy arrays without a copy.

>>> import axebpf
>>> with axebpf.Bench() as bench:
...     squares = bench.create_map("array", 4, 8, max_entries=5)
...     squares[:] = [n * n for n in range(5)]
...     squares[2], squares[1:4], squares[-2:]
(4, [1, 4, 9], [9, 16])
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from axebpf.btf import Layout
from axebpf.errors import MapError
from axebpf.maps import _Keyed

if TYPE_CHECKING:
    import numpy as np

    from axebpf import _native

__all__ = ["ArrayMap"]

_EINVAL = 22
_INDEX: Layout = ("int", 4, False, "number")


class ArrayMap(_Keyed):
    """An `array` or `percpu_array`: a mapping of all indices from 0, whose entries cannot be deleted.

    A key is an index as a program has it, from 0. A slice means what it means of a list, negative bounds too, and gives
    a list of values; a list of as many values can be assigned to it.
    """

    def __init__(self, native: _native.Map, key: Layout | None, value: Layout | None, cpus: int) -> None:
        # The key of a data section, or of a map made by hand, is not given.
        super().__init__(native, _INDEX if key is None or key[0] == "bytes" else key, value, cpus)

    def __iter__(self) -> Iterator[int]:
        """The indices."""
        return iter(range(self.max_entries))

    def __getitem__(self, key: Any) -> Any:
        """The value of an index, the list of values of a slice. Raises KeyNotFound for an index that there is not."""
        if isinstance(key, slice):
            return [super(ArrayMap, self).__getitem__(index) for index in self._indices(key)]
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Sets the value of an index, or those of a slice.

        Raises MapError for an index that there is not (E2BIG), for a value that the type does not hold, and for more or
        fewer values than a slice has; nothing is written then.
        """
        if not isinstance(key, slice):
            super().__setitem__(key, value)
            return
        indices = self._indices(key)
        values = [self._encode_value(item) for item in value]
        if len(values) != len(indices):
            given = f"the slice has {len(indices)} values, got {len(values)}: an array does not grow or shrink"
            raise MapError(_EINVAL, given, map=self.name)
        for index, data in zip(indices, values, strict=True):
            self.update(index.to_bytes(4, "little"), data, 0)

    def __delitem__(self, key: Any) -> None:
        """Raises MapError: an array has all its entries for ever."""
        if isinstance(key, slice):
            raise MapError(_EINVAL, "the entries of an array cannot be deleted; set them to zero", map=self.name)
        try:
            super().__delitem__(key)
        except MapError as error:
            if error.errno != _EINVAL:
                raise
            why = "an entry of an array cannot be deleted; set it to zero"
            raise MapError(_EINVAL, why, map=self.name) from None

    def _indices(self, part: slice) -> range:
        try:
            return range(*part.indices(self.max_entries))
        except (TypeError, ValueError) as error:
            raise MapError(_EINVAL, f"the slice {part}: {error}", map=self.name) from None

    def clear(self) -> None:
        """Sets every value to zero."""
        zero = bytes(self._stride * self._cpus if self.is_per_cpu else self.value_size)
        for index in range(self.max_entries):
            self.update(index.to_bytes(4, "little"), zero, 0)

    def to_numpy(self, *, copy: bool | None = None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """All indices and all values as arrays. In a per-CPU array, CPUs are columns.

        The values are not copied: they are a read-only view of the map's own memory, which shows what programs write
        later, and which stays valid when the bench is closed. With `copy=True` they are a copy of their own, as they
        are now. Values of AxVisor's map library, and those with a `bpf_spin_lock`, always have to be copied, so that
        `copy=False` raises ValueError.

        >>> import axebpf
        >>> with axebpf.Bench() as bench:
        ...     counts = bench.create_map("array", 4, 8, max_entries=3)
        ...     now, then = counts.to_numpy()[1], counts.to_numpy(copy=True)[1]
        ...     counts[1] = 5
        >>> now.tolist(), then.tolist(), now.flags.writeable
        ([0, 5, 0], [0, 0, 0], False)
        """
        import numpy as np

        from axebpf.tables import strided

        memory = self._native.values()
        if memory is None:
            return super().to_numpy(copy=copy)
        shape: tuple[int, ...] = (self.max_entries,)
        steps: tuple[int, ...] = (memory.stride,)
        if self.is_per_cpu:
            shape, steps = (*shape, self._cpus), (*steps, memory.plane)
        values = strided(self.value_type.dtype, shape, memory, steps)
        indices = np.arange(self.max_entries, dtype=np.uint32).view(self.key_type.dtype)
        return indices, values.copy() if copy else values
