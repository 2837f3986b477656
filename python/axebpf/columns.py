"""Columns of values for the fields of a tracepoint, from arrays, lists or Arrow, checked before anything is fired.

>>> from axebpf.tracepoint import parse_type
>>> kinds = {"vm_id": parse_type("u32"), "duration_ns": parse_type("u64")}
>>> columns = read_columns("vmm:vm_boot", kinds, {"vm_id": 1, "duration_ns": [50, 70]})
>>> common_rows("vmm:vm_boot", columns)
2
>>> columns["vm_id"].spread(2)
array([1, 1], dtype=uint32)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from axebpf.errors import FieldError, did_you_mean
from axebpf.tracepoint import FieldType

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "CPU",
    "TIME",
    "Column",
    "check_names",
    "common_rows",
    "for_core",
    "read_column",
    "read_columns",
    "table_columns",
]

TIME, CPU = FieldType("u64"), FieldType("u32")
"""The types of the times and CPUs of events."""
_BASE_DTYPES = {f"{sign}{8 * size}": f"<{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)}


class Column:
    """The values of one field: an array with a row an event, or one value for all."""

    def __init__(self, values: Any, kind: FieldType) -> None:
        self.values = values
        self.kind = kind

    @property
    def rows(self) -> int | None:
        """Rows; None where one value goes with any number."""
        return None if isinstance(self.values, int) else len(self.values)

    @property
    def greatest(self) -> int:
        """The greatest number."""
        return self.values if isinstance(self.values, int) else int(self.values.max())

    def spread(self, rows: int) -> Any:
        """As an array of exactly this type, with so many rows; that of an array field has a second dimension."""
        import numpy as np

        if isinstance(self.values, int):
            return np.full(rows, self.values, self.kind.numpy)
        return np.ascontiguousarray(self.values, np.dtype(self.kind.numpy).base)

    def part(self, rows: slice) -> Any:
        """Some rows, as the core takes them."""
        return self.values if isinstance(self.values, int) else for_core(self.values[rows], self.kind)


def for_core(values: np.ndarray[Any, Any], kind: FieldType) -> Any:
    """An array as the core takes it: integers, or for an array field its bytes with their number a row."""
    if kind.count:
        return values.tobytes(), kind.size
    return values.view("u1") if kind.base == "bool" and values.dtype.kind == "b" else values


def table_columns(table: Any) -> dict[str, Any]:
    """The columns of a structured array or an Arrow table."""
    names = getattr(table, "column_names", None)
    if names is None and getattr(table, "dtype", None) is not None:
        names = [name for name in table.dtype.names or () if not name.startswith("common_")]
    if names is None:
        raise TypeError(f"expected a structured array or a table with column_names, not {type(table).__name__}")
    return {name: table[name] for name in names}


def check_names(tracepoint: str, kinds: Iterable[str], given: Iterable[str]) -> None:
    """Raises FieldError for a column that is of no field."""
    fields = list(kinds)
    for name in given:
        if name not in fields:
            raise FieldError(f"no field {name}{did_you_mean(name, fields)}", tracepoint=tracepoint, field=name)


def read_columns(tracepoint: str, kinds: Mapping[str, FieldType], given: Mapping[str, Any]) -> dict[str, Column]:
    """A column for each field, in their order. Raises FieldError for a field too many or too few, or a bad column."""
    check_names(tracepoint, kinds, given)
    missing = [name for name in kinds if name not in given]
    if missing:
        raise FieldError(f"no column for {', '.join(missing)}", tracepoint=tracepoint)
    return {name: read_column(tracepoint, name, given[name], kind) for name, kind in kinds.items()}


def common_rows(tracepoint: str, columns: Mapping[str, Column | None]) -> int:
    """How many rows the columns have; 1 where all are single values. Raises FieldError where they differ."""
    lengths = {name: column.rows for name, column in columns.items() if column is not None and column.rows is not None}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise FieldError(f"columns of unequal length: {text}", tracepoint=tracepoint)
    return next(iter(lengths.values()), 1)


def read_column(tracepoint: str, name: str, values: Any, kind: FieldType) -> Column:
    """A column that fits its field. Raises FieldError for another shape or type, and for numbers out of range."""
    import numpy as np

    def refuse(what: str) -> FieldError:
        return FieldError(f"{name} {what}", tracepoint=tracepoint, field=name)

    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, (int, np.integer)) and not kind.count:
        column, least, greatest = Column(int(values), kind), int(values), int(values)
    else:
        try:
            if isinstance(values, np.ndarray) and values.dtype.kind == "O":  # as Arrow gives the rows of an array field
                values = values.tolist()
            array = np.asarray(values)
        except (TypeError, ValueError, OverflowError) as error:
            raise refuse(f"is {kind.text}, and no column of it can be made of this: {error}") from None
        if kind.base == "char":
            return Column(_texts(array, kind, refuse), kind)
        array = _integers(array, values, kind, refuse)
        column = Column(np.ascontiguousarray(array, array.dtype.newbyteorder("=")), kind)
        least, greatest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    low, high = (0, 1) if kind.base == "bool" else (kind.minimum, kind.maximum)
    if not (low <= least and greatest <= high):
        wrong = least if least < low else greatest
        row = "" if column.rows is None else f" (row {int(np.argwhere(column.values == wrong)[0][0])})"
        raise refuse(f"is {kind.text} and takes {low} to {high}, not {wrong}{row}")
    if kind.count:  # whose bytes the core takes
        column.values = column.spread(len(column.values))
    return column


def _texts(array: np.ndarray[Any, Any], kind: FieldType, refuse: Callable[[str], FieldError]) -> Any:
    """Texts as the bytes of their field."""
    import numpy as np

    if array.dtype.kind == "U":
        array = np.char.encode(array, "utf-8")
    if array.dtype.kind != "S" or array.dtype.itemsize > kind.count:
        raise refuse(f"is {kind.text} and takes texts of so many bytes, not {array.dtype}")
    if array.ndim != 1:
        raise refuse(f"is {kind.text}, whose column has one dimension; this one has the shape {array.shape}")
    return np.ascontiguousarray(array, kind.numpy)


def _integers(array: np.ndarray[Any, Any], values: Any, kind: FieldType, refuse: Callable[[str], FieldError]) -> Any:
    """An array of integers, with a second dimension for an array field; `values` is what it was made of."""
    import numpy as np

    dimensions, words = (2, "two dimensions") if kind.count else (1, "one dimension")
    whole = array.dtype.kind in "iub"
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    elif array.dtype.kind in "fO" and array.ndim == dimensions:
        # NumPy makes floats of numbers from 2**63 beside small ones, and objects of larger ones.
        exact = np.asarray(values, object)
        whole = exact.shape == array.shape and all(isinstance(value, (int, np.integer)) for value in exact.flat)
        if whole:
            unsigned = not exact.size or (exact.min() >= 0 and exact.max() < 1 << 64)
            array = exact.astype("u8") if unsigned else exact
    if kind.count and whole and array.shape[1:] != (kind.count,):
        expected = f"{words}, {kind.count} a row"
        raise refuse(f"is {kind.text}, whose column has {expected}; this one has the shape {array.shape}")
    if not whole or array.ndim != dimensions:
        shown = f"{array.dtype} of {array.ndim} dimensions"
        raise refuse(f"has a column of {shown}; expected {words} of integers")
    return array
