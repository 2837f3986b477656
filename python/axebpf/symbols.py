"""Symbols: which function an address lies in, and where a name is.

A `SymbolTable` is read from the kallsyms blob that AxVisor carries (the `ksym` crate's, any version), from the text of
`nm`, `System.map` and `/proc/kallsyms`, or from an ELF file. It does not change afterwards.

>>> table = SymbolTable.from_text('''
... ffff800000201000 T vcpu_run
... ffff800000201040 t handle_exit
... ''', etext=0xffff800000201100)
>>> symbol = table.lookup_symbol(0xffff800000201044)
>>> print(symbol)
handle_exit+0x4/0xc0
>>> symbol.offset, symbol.type
(4, 't')
>>> hex(table.lookup_addr("vcpu_run"))
'0xffff800000201000'

The module's functions are the seed's: one table, of the default bench.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator
from typing import NamedTuple

from axebpf import _native
from axebpf._default import default_bench
from axebpf._default import is_initialized as _has_default_bench
from axebpf.errors import AlreadyInitialized, SymbolError

__all__ = [
    "Symbol",
    "SymbolTable",
    "init",
    "is_initialized",
    "lookup_addr",
    "lookup_symbol",
    "search_symbols",
]


class Symbol(NamedTuple):
    """A symbol, or a place in one; its text is that of Linux's `%pS`.

    >>> print(Symbol("vcpu_run", 0x1000, 0x40, 8, "T"))
    vcpu_run+0x8/0x40
    """

    name: str
    """Its name, without the module. Bytes that are no UTF-8 are lone surrogates, as in the names of files."""
    addr: int
    """Where it begins."""
    size: int
    """Bytes up to its end: what the ELF file says, else up to the next address with a symbol, else up to `etext`; 0
    where there is none of these."""
    offset: int
    """Bytes from its beginning to the address that was looked up; 0 if none was."""
    type: str
    """The letter that `nm` gives its type: `T` code, `D` data, `R` constants …; small letters are local to a file."""

    def __str__(self) -> str:
        return f"{self.name}+{self.offset:#x}/{self.size:#x}"


_new = tuple.__new__
"""`_new(Symbol, row)` takes half the time of `Symbol(*row)`."""

_ADDRESSES = 1 << 64


class SymbolTable:
    r"""Symbols in the order of their addresses. `SymbolTable()` has none.

    It answers for addresses from `stext` up to and without `etext`; without `etext` there is no end, and the last
    symbol has none either.

    >>> table = SymbolTable.from_text("1000 T vcpu_run\n1040 T vcpu_load\n", etext=0x1100)
    >>> table
    <SymbolTable: 2 symbols, 0x1000 to 0x1040>
    >>> [symbol.name for symbol in table], "vcpu_run" in table, 0x1100 in table
    (['vcpu_run', 'vcpu_load'], True, False)
    """

    __slots__ = ("_native",)

    def __init__(self) -> None:
        self._native = _native.SymbolTable.from_text(b"", 0, None)

    @classmethod
    def _of(cls, native: _native.SymbolTable) -> SymbolTable:
        table = cls.__new__(cls)
        table._native = native
        return table

    @classmethod
    def from_blob(
        cls, data: bytes | bytearray | memoryview, stext: int | None = None, etext: int | None = None
    ) -> SymbolTable:
        """Reads a kallsyms blob: of `ksym` 0.6, which begins with its length, or of an older one.

        `stext` and `etext` are the addresses of AxVisor's `_stext` and `_etext`. Zeros may follow the blob, and a blob
        of zeros has no symbols. Raises SymbolError with the offset.

        >>> SymbolTable.from_blob(bytes(4096), 0x1000, 0x2000)
        <SymbolTable: no symbols>
        """
        return cls._of(_native.SymbolTable.from_blob(_bytes(data), *_range(stext, etext)))

    @classmethod
    def from_text(
        cls, text: str | bytes | bytearray | memoryview, stext: int | None = None, etext: int | None = None
    ) -> SymbolTable:
        """Reads what `nm` (`nm -S` too), `System.map` and `/proc/kallsyms` print, in any order.

        A line is `ADDRESS TYPE NAME`, with `[module]` behind it for a kernel module. Lines that are not understood are
        passed over and counted (`skipped`), so are symbols without an address (`undefined`). Raises SymbolError with
        the line where nothing is understood.
        """
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else _bytes(text)
        return cls._of(_native.SymbolTable.from_text(data, *_range(stext, etext)))

    @classmethod
    def from_elf(
        cls, data: bytes | bytearray | memoryview, stext: int | None = None, etext: int | None = None
    ) -> SymbolTable:
        """Reads `.symtab` of an ELF file, or `.dynsym` where it was stripped: what `nm` lists with an address.

        Thread-local variables are left out, because their values are no addresses. Where the file gives a symbol's
        size, the symbol ends there. Raises SymbolError.
        """
        return cls._of(_native.SymbolTable.from_elf(_bytes(data), *_range(stext, etext)))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], stext: int | None = None, etext: int | None = None) -> SymbolTable:
        """Reads a file of any of these forms, which its first bytes tell apart. Raises SymbolError."""
        try:
            with open(path, "rb") as stream:  # noqa: PTH123 (pathlib is slow to import)
                data = stream.read()
        except OSError as error:
            raise SymbolError(f"{os.fspath(path)} cannot be read: {error.strerror}") from error
        if data.startswith(b"\x7fELF"):
            return cls.from_elf(data, stext, etext)
        # A blob begins with a small number in eight bytes, and no text has zeros.
        read = cls.from_blob if b"\0" in data[:8] else cls.from_text
        return read(data, stext, etext)

    @property
    def stext(self) -> int:
        """The first address that it answers for."""
        return self._native.range[0]

    @property
    def etext(self) -> int | None:
        """One past the last address that it answers for; None where there is no end."""
        return self._native.range[1]

    @property
    def skipped(self) -> int:
        """Lines of the text that were not understood."""
        return self._native.skipped

    @property
    def undefined(self) -> int:
        """Symbols that the source names without an address, because another file defines them."""
        return self._native.undefined

    def lookup_symbol(self, addr: int) -> Symbol | None:
        """The symbol that an address lies in: the one with the greatest address that is not above it.

        Of several at that address it is the first, as on Linux. None outside `stext` to `etext`, below the first
        symbol, and behind the end of a symbol whose size an ELF file gives.
        """
        found = self._native.lookup_symbol(addr)
        return None if found is None else _new(Symbol, found)

    def lookup_addr(self, name: str) -> int | None:
        """The lowest address of a symbol of that name, or None. Names are looked up in the whole table."""
        return self._native.lookup_addr(name)

    def lookup_all(self, name: str) -> list[Symbol]:
        r"""All symbols of that name, in the order of addresses.

        >>> table = SymbolTable.from_text("1000 t probe\n1040 t probe\t[kvm]\n")
        >>> [(hex(symbol.addr), table.module(symbol)) for symbol in table.lookup_all("probe")]
        [('0x1000', None), ('0x1040', 'kvm')]
        """
        return [_new(Symbol, found) for found in self._native.named(name)]

    def search(self, part: str, limit: int | None = None) -> list[Symbol]:
        """The symbols whose name contains a text, in the order of addresses, `limit` of them at most.

        The module counts as `name [module]`: `search("[kvm]")` finds the symbols of one.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit is {limit}; it takes 0 or more, or None")
        limit = len(self) if limit is None else min(limit, len(self))
        return [_new(Symbol, found) for found in self._native.search(part, limit)]

    def module(self, symbol: Symbol) -> str | None:
        """The kernel module that a symbol of this table belongs to, or None."""
        return self._native.module(symbol.name, symbol.addr)

    def nearest(self, name: str) -> str | None:
        """The name that looks most like one, for messages, or None."""
        return self._native.nearest(name)

    def to_blob(self, style: str = "ksym-0.6") -> bytes:
        """A kallsyms blob, uncompressed, as `ksym` 0.6 (`"ksym-0.6"`) or an older one (`"ksym"`) reads it.

        `ksym` itself cuts names at 4096 bytes and panics on some without a name. Raises SymbolError for a name above
        65535 bytes, and for one that begins with the byte ff.

        >>> table = SymbolTable.from_text("1000 T vcpu_run")
        >>> SymbolTable.from_blob(table.to_blob("ksym"), 0x1000, 0x2000).lookup_symbol(0x1004).name
        'vcpu_run'
        """
        return self._native.to_blob(style)

    def to_text(self) -> str:
        r"""The text of `/proc/kallsyms`. Raises SymbolError for a name that it has no line for.

        >>> SymbolTable.from_text("0x1000 T vcpu_run").to_text()
        '0000000000001000 T vcpu_run\n'
        """
        return self._native.to_text()

    def __len__(self) -> int:
        return len(self._native)

    def __getitem__(self, index: int) -> Symbol:
        """The symbol at a place in the order of addresses, from the end where it is negative."""
        place = operator.index(index)
        place += len(self) if place < 0 else 0
        found = self._native.get(place) if place >= 0 else None
        if found is None:
            raise IndexError(f"index {index} of a table of {len(self)} symbols")
        return _new(Symbol, found)

    def __iter__(self) -> Iterator[Symbol]:
        get = self._native.get
        for index in range(len(self)):
            found = get(index)
            if found is not None:
                yield _new(Symbol, found)

    def __contains__(self, what: object) -> bool:
        """Whether a name, an address or a symbol is in it."""
        if isinstance(what, str):
            return self._native.lookup_addr(what) is not None
        if isinstance(what, Symbol):
            return what._replace(offset=0) in self.lookup_all(what.name)
        return isinstance(what, int) and self._native.lookup_symbol(what) is not None

    def __repr__(self) -> str:
        if not len(self):
            return "<SymbolTable: no symbols>"
        count = "1 symbol" if len(self) == 1 else f"{len(self)} symbols"
        return f"<SymbolTable: {count}, {self[0].addr:#x} to {self[-1].addr:#x}>"


def _bytes(data: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"the symbols are {type(data).__name__}; expected bytes")
    return bytes(data)


def _range(stext: int | None, etext: int | None) -> tuple[int, int | None]:
    for name, address in (("stext", stext), ("etext", etext)):
        if address is not None and not 0 <= address < _ADDRESSES:
            raise SymbolError(f"{name} is {address:#x}; an address is 0 to {_ADDRESSES - 1:#x}")
    return stext or 0, etext


def init(data: bytes, stext: int, etext: int) -> None:
    """Gives the default bench the symbols of a kallsyms blob.

    Raises SymbolError, after which it may be tried again; AlreadyInitialized where the bench has symbols already;
    NotInitialized without a default bench.

    >>> import axebpf
    >>> with axebpf.init():
    ...     init(SymbolTable.from_text("1000 T vcpu_run").to_blob(), 0x1000, 0x2000)
    ...     is_initialized(), lookup_addr("vcpu_run"), search_symbols("run", 10)
    (True, 4096, [('vcpu_run', 4096)])
    """
    table = SymbolTable.from_blob(data, stext, etext)
    if is_initialized():
        raise AlreadyInitialized(
            "the symbols are already initialized: assign to bench.symbols to replace them, or close the default bench"
        )
    default_bench().symbols = table


def is_initialized() -> bool:
    """Whether the default bench has been given symbols."""
    return _has_default_bench() and default_bench().has_symbols


def _table() -> SymbolTable | None:
    return default_bench().symbols if _has_default_bench() else None


def lookup_symbol(addr: int) -> Symbol | None:
    """The symbol of the default bench that an address lies in; None where there is none, or no symbols."""
    table = _table()
    return None if table is None else table.lookup_symbol(addr)


def lookup_addr(name: str) -> int | None:
    """The lowest address of a symbol of the default bench; None where there is none, or no symbols."""
    table = _table()
    return None if table is None else table.lookup_addr(name)


def search_symbols(part: str, max: int) -> list[tuple[str, int]]:
    """Names and addresses of the first symbols of the default bench whose name contains a text."""
    table = _table()
    return [] if table is None else [(symbol.name, symbol.addr) for symbol in table.search(part, max)]
