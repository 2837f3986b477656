"""Columns: the values of a field for many events, checked against its type before any of them is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from axebpf.errors import FieldError, did_you_mean
from axebpf.tracepoint import FieldType

__all__ = ["CPU", "TIME", "Column", "check_names", "column", "common_rows", "table_columns"]

TIME, CPU = FieldType("u64"), FieldType("u32")
"""What the columns `time_ns` and `cpu` are made of."""

_BASE_DTYPES = {f"{sign}{8 * size}": f"<{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)}


def table_columns(table: Any) -> dict[str, Any]:
    """The columns of a structured array or an Arrow table."""
    names = getattr(table, "column_names", None)
    if names is None and getattr(table, "dtype", None) is not None:
        names = [name for name in table.dtype.names or () if not name.startswith("common_")]
    if names is None:
        raise TypeError(f"expected a structured array or a table with column_names, not {type(table).__name__}")
    return {name: table[name] for name in names}


def check_names(tracepoint: str, fields: Iterable[str], given: Iterable[str]) -> None:
    """Raises FieldError for a column that is of no field."""
    fields = list(fields)
    for name in given:
        if name not in fields:
            raise FieldError(f"no field {name}{did_you_mean(name, fields)}", tracepoint=tracepoint, field=name)


def common_rows(tracepoint: str, columns: Mapping[str, Column | None]) -> int:
    """How many rows the columns have; 1 where each goes with any number. Raises FieldError where they differ."""
    lengths = {name: each.rows for name, each in columns.items() if each is not None and each.rows is not None}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise FieldError(f"columns of unequal length: {text}", tracepoint=tracepoint)
    return next(iter(lengths.values()), 1)


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
        """As an array of exactly this type, with so many rows."""
        if isinstance(self.values, int):
            return np.full(rows, self.values, self.kind.numpy)
        return np.ascontiguousarray(self.values, self.kind.numpy)

    def part(self, rows: slice) -> Any:
        """Some rows, as the core takes them: integers, or for an array field its bytes with their number a row."""
        if isinstance(self.values, int):
            return self.values
        if not self.kind.count:
            return self.values[rows]
        values = self.values[rows]
        return values.tobytes(), self.kind.size


def column(tracepoint: str, name: str, values: Any, kind: FieldType) -> Column:
    """A column that fits its field. Raises FieldError for another shape or type, and for numbers out of range."""

    def refuse(what: str) -> FieldError:
        return FieldError(f"{name} {what}", tracepoint=tracepoint, field=name)

    if kind.count:
        if hasattr(values, "to_numpy"):
            values = values.to_numpy()
        try:
            array = np.asarray(values) if kind.base == "char" else np.asarray(values, _BASE_DTYPES[kind.base])
            if array.dtype.kind == "U":
                array = np.char.encode(array, "utf-8")
        except (TypeError, ValueError, OverflowError) as error:
            raise refuse(f"is {kind.text}, and no column of it can be made of this: {error}") from None
        if kind.base == "char":
            if array.dtype.kind != "S" or array.dtype.itemsize > kind.count:
                raise refuse(f"is {kind.text} and takes texts of so many bytes, not {array.dtype}")
            array = array.astype(kind.numpy)
        shape = (len(array),) if kind.base == "char" else (len(array), kind.count)
        if array.shape != shape:
            raise refuse(f"is {kind.text}, whose column has the shape {shape}, not {array.shape}")
        return Column(np.ascontiguousarray(array), kind)
    if isinstance(values, (int, np.integer)):
        least = greatest = int(values)
        made = Column(int(values), kind)
    else:
        if hasattr(values, "to_numpy"):
            values = values.to_numpy()
        array = np.asarray(values)
        if array.dtype.kind == "b":
            array = array.view(np.uint8)
        if array.dtype.kind not in "iu" and array.size == 0:
            array = array.astype(np.uint64)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            shown = f"{array.dtype} of {array.ndim} dimensions"
            raise refuse(f"has a column of {shown}; expected one dimension of integers")
        made = Column(np.ascontiguousarray(array, array.dtype.newbyteorder("=")), kind)
        least, greatest = (int(array.min()), int(array.max())) if array.size else (0, 0)
    low, high = (0, 1) if kind.base == "bool" else (kind.minimum, kind.maximum)
    if not (low <= least and greatest <= high):
        wrong = least if least < low else greatest
        row = "" if made.rows is None else f" (row {int(np.flatnonzero(made.values == wrong)[0])})"
        raise refuse(f"is {kind.text} and takes {low} to {high}, not {wrong}{row}")
    return made
