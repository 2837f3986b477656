"""Values of maps and fields of events as a line of text."""

from __future__ import annotations

import enum
from typing import Any

from axebpf.cli.values import Enums, cell
from axebpf.maps import PerCpu
from axebpf.tracepoint import Field

__all__ = ["shown", "shown_field"]

_WIDEST = 400
"""Characters of one value."""


def shown(value: Any, enums: Enums | None = None, name: str = "") -> str:
    """A value as text: structures by member, numbers that have a name by that.

    `enums` gives the names, by the member's or by `name`.

    >>> import collections
    >>> from axebpf import ExitReason
    >>> key = collections.namedtuple("exit_key", "vm_id exit_reason")(1, 0)
    >>> shown(key, {"exit_reason": ExitReason})
    '(vm_id=1, exit_reason=HYPERCALL)'
    >>> shown(PerCpu([2, 0, 5]))
    '[cpu0=2, cpu1=0, cpu2=5]'
    """
    text = _shown(value, enums or {}, name)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]} …"


def shown_field(field: Field, value: Any) -> str:
    """The value of an event's field: by name where it has one, otherwise as the trace shows it.

    >>> from axebpf.tracepoint import Field, FieldType
    >>> shown_field(Field("gpa", FieldType("u64"), hex=True), 4096)
    '0x1000'
    """
    if field.enum is not None:
        return shown(value, {field.name: field.enum}, field.name)
    return hex(value) if field.hex and isinstance(value, int) else shown(value)


def _shown(value: Any, enums: Enums, name: str) -> str:
    if isinstance(value, PerCpu):
        return f"[{', '.join(f'cpu{cpu}={_shown(item, enums, name)}' for cpu, item in enumerate(value))}]"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        members = zip(value._fields, value, strict=True)
        return f"({', '.join(f'{member}={_shown(item, enums, member)}' for member, item in members)})"
    if isinstance(value, (tuple, list)):
        items = ", ".join(_shown(item, enums, name) for item in value)
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        items = ", ".join(f"{_shown(key, enums, name)}: {_shown(item, enums, name)}" for key, item in value.items())
        return f"{{{items}}}"
    if isinstance(value, enum.Enum):
        return value.name or repr(value)
    if isinstance(value, int):
        return cell(name, value, enums, pretty=False)
    return repr(value)
