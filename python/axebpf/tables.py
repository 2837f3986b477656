"""What a bench holds as tables: columns of NumPy arrays, Arrow tables, HTML for notebooks.

A structure gives a column for each of its members; a member that is itself a structure stays one column. An array of
`char` is bytes up to its NULs, any other array a list of fixed size, what has no type its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from axebpf.btf import Codec, members_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from rich.table import Table
    from rich.text import Text

__all__ = ["HTML_ROWS", "arrow_table", "columns_of", "html_table", "joined", "rich_table", "strided"]

HTML_ROWS = 50
"""Rows that a notebook shows of a long table."""


def strided(dtype: np.dtype[Any], shape: tuple[int, ...], data: Any, strides: tuple[int, ...], offset: int = 0) -> Any:
    """An array over memory: along each axis, an element begins so many bytes behind the one before.

    An array type inside gives axes of its own.
    """
    import numpy as np

    base, inside = dtype.subdtype or (dtype, ())
    if 0 in shape:
        return np.empty((*shape, *inside), base)
    inner = tuple(base.itemsize * int(np.prod(inside[axis + 1 :])) for axis in range(len(inside)))
    return np.ndarray((*shape, *inside), base, data, offset, (*strides, *inner))


def columns_of(codec: Codec, name: str, data: bytes, count: int, stride: int) -> dict[str, Any]:
    """`count` values of one type, each `stride` bytes after the one before, as columns.

    A structure becomes a column a member, bit fields included; anything else the one column `name`. The columns are
    views of `data`, except those of bit fields.
    """
    import numpy as np

    def view(dtype: np.dtype[Any], offset: int) -> Any:
        return strided(dtype, (count,), data, (stride,), offset)

    members = members_of(codec)
    if not members:
        return {name: view(codec.dtype, 0)}
    columns: dict[str, Any] = {}
    for member, offset, kind, bits in members:
        if bits is None:
            columns[member] = view(kind.dtype, offset)
            continue
        low, width, signed = bits
        first, last = low // 8, (low + width + 7) // 8
        number = np.zeros(count, np.uint64)
        for place, byte in enumerate(range(first, last)):
            part = view(np.dtype(np.uint8), byte).astype(np.uint64)
            # The lowest byte loses the bits below the field, so that nine bytes fit 64 bits too.
            down, up = low % 8, 8 * place - low % 8
            number |= part >> np.uint64(down) if place == 0 else part << np.uint64(up)
        top = number << np.uint64(64 - width)
        columns[member] = top.view(np.int64) >> np.int64(64 - width) if signed else top >> np.uint64(64 - width)
    return columns


def joined(keys: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of keys and values together; a name that both have gets `key.` or `value.` in front."""
    columns = {f"key.{name}" if name in values else name: column for name, column in keys.items()}
    return columns | {f"value.{name}" if name in keys else name: column for name, column in values.items()}


def arrow_table(columns: Mapping[str, Any]) -> pa.Table:
    """An Arrow table of NumPy columns or Python lists. Raises ImportError, which says what to install."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError(f"Arrow tables need pyarrow: pip install 'axebpf[arrow]' ({error})") from error

    def column(values: Any) -> Any:
        if isinstance(values, list):
            return pa.array(values)
        if values.ndim > 1:
            size = values.shape[1]
            return pa.FixedSizeListArray.from_arrays(column(values.reshape(-1, *values.shape[2:])), size)
        if values.dtype.names is not None:
            return pa.StructArray.from_arrays([column(values[name]) for name in values.dtype.names], values.dtype.names)
        if values.dtype.kind == "V":
            return pa.array(values.tolist(), pa.binary(values.dtype.itemsize))
        if values.dtype.kind == "b":
            # C takes any byte but zero as true, NumPy's bytes must be one.
            values = values.view("u1") != 0
        return pa.array(values)

    return pa.table({name: column(values) for name, values in columns.items()})


def html_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], total: int) -> str:
    """A table for a notebook: `rows`, of `total` that there are, under a title."""
    import html  # reads all the named characters of HTML

    cells = ["".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows]
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    rest = f"<p>… {total - len(cells)} more</p>" if total > len(cells) else ""
    return (
        f"<p><b>{html.escape(title)}</b></p><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{rest}"
    )


def rich_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], total: int) -> Table | Text:
    """A table for a terminal, as `html_table`; without columns only the title. Numbers stand to the right."""
    from rich.table import Table
    from rich.text import Text

    shown = list(rows)
    rest = Text(f"… {total - len(shown)} more") if total > len(shown) else None
    if not head:
        return Text("\n").join([Text(title), *([rest] if rest else [])])
    table = Table(title=Text(title), caption=rest, title_justify="left", caption_justify="left")
    for place, name in enumerate(head):
        number = bool(shown) and isinstance(shown[0][place], (int, float))
        table.add_column(Text(name), justify="right" if number else "left")
    for row in shown:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table
