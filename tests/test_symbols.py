"""Symbols in Python: tables, and the seed's functions on the default bench.

How blobs, texts and ELF files are read is tested against `ksym`, `nm` and the kernel in `rust/core/tests/symbol_*.rs`.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

import axebpf
import pytest
from axebpf import AlreadyInitialized, BenchClosed, NotInitialized, SymbolError, symbols
from axebpf.symbols import Symbol, SymbolTable

TEXT = """\
ffff800000201000 T vcpu_run
ffff800000201040 t handle_exit
ffff800000201040 t handle_exit_alias
ffff800000201080 t probe
ffff800000202000 t probe\t[guest]
"""
STEXT, ETEXT = 0xFFFF_8000_0020_1000, 0xFFFF_8000_0020_3000


@pytest.fixture
def table() -> SymbolTable:
    return SymbolTable.from_text(TEXT, STEXT, ETEXT)


@pytest.fixture
def blob(table: SymbolTable) -> bytes:
    return table.to_blob()


# Tables


def test_a_symbol_is_five_values_with_names(table: SymbolTable) -> None:
    found = table.lookup_symbol(STEXT + 0x44)
    assert found == ("handle_exit", STEXT + 0x40, 0x40, 4, "t")
    assert found is not None
    name, addr, size, offset, kind = found
    assert (found.name, found.addr, found.size, found.offset, found.type) == (name, addr, size, offset, kind)
    assert type(found) is Symbol
    assert str(found) == "handle_exit+0x4/0x40"
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("addr", [STEXT - 1, ETEXT, 0, (1 << 64) - 1, 1 << 64, 1 << 100, -1])
def test_outside_the_text_there_is_no_symbol(table: SymbolTable, addr: int) -> None:
    assert table.lookup_symbol(addr) is None
    assert addr not in table


@pytest.mark.parametrize("addr", ["vcpu_run", None, 1.5, b"\0"])
def test_an_address_that_is_no_number_is_a_type_error(table: SymbolTable, addr: object) -> None:
    with pytest.raises(TypeError):
        table.lookup_symbol(addr)  # type: ignore[arg-type]


def test_names_give_the_lowest_address_and_all(table: SymbolTable) -> None:
    assert table.lookup_addr("probe") == STEXT + 0x80
    found = table.lookup_all("probe")
    assert [(symbol.addr, symbol.size, table.module(symbol)) for symbol in found] == [
        (STEXT + 0x80, 0x1000 - 0x80, None),
        (STEXT + 0x1000, 0x1000, "guest"),
    ]
    assert table.lookup_addr("vcpu") is None
    assert table.lookup_all("vcpu") == []


def test_search_is_by_address_and_takes_a_limit(table: SymbolTable) -> None:
    assert [symbol.name for symbol in table.search("handle")] == ["handle_exit", "handle_exit_alias"]
    assert [symbol.addr for symbol in table.search("probe", 1)] == [STEXT + 0x80]
    assert [symbol.addr for symbol in table.search("[guest]")] == [STEXT + 0x1000]
    assert (table.search("probe", 0), table.search("none"), table.search("\ud800")) == ([], [], [])
    assert table.search("", 1 << 100) == list(table)
    with pytest.raises(ValueError, match="limit is -1"):
        table.search("probe", -1)


def test_a_table_is_a_container_of_its_symbols(table: SymbolTable) -> None:
    assert len(table) == len(list(table)) == 5
    assert [table[n] for n in range(5)] == [table[n - 5] for n in range(5)] == list(table)
    for index in (5, -6, 1 << 40):
        with pytest.raises(IndexError, match=f"index {index} of a table of 5 symbols"):
            table[index]
    for what in ("probe", STEXT, ETEXT - 1, *table, table.lookup_symbol(STEXT + 1)):
        assert what in table
    for what in ("", "prob", ETEXT, table[0]._replace(name="other"), table[0]._replace(addr=1), None, 1.0):
        assert what not in table
    assert repr(table) == "<SymbolTable: 5 symbols, 0xffff800000201000 to 0xffff800000202000>"
    assert (table.stext, table.etext) == (STEXT, ETEXT)


@pytest.mark.parametrize("index", ["vcpu_run", slice(1, 2), 1.0, None])
def test_an_index_is_a_number(table: SymbolTable, index: object) -> None:
    with pytest.raises(TypeError, match="integer"):
        table[index]  # type: ignore[index]


def test_an_empty_table() -> None:
    table = SymbolTable()
    assert (len(table), list(table), repr(table)) == (0, [], "<SymbolTable: no symbols>")
    assert (table.lookup_symbol(0), table.lookup_addr(""), table.search("")) == (None, None, [])
    assert (table.to_text(), table.stext, table.etext) == ("", 0, None)
    for style in ("ksym", "ksym-0.6"):
        assert len(SymbolTable.from_blob(table.to_blob(style), 0, 1)) == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_blobs_are_any_bytes_and_texts_strings_too(blob: bytes, table: SymbolTable, kind: type) -> None:
    assert list(SymbolTable.from_blob(kind(blob), STEXT, ETEXT)) == list(table)
    assert list(SymbolTable.from_text(kind(TEXT.encode()), STEXT, ETEXT)) == list(table)


@pytest.mark.parametrize("wrong", [None, 5, [1, 2]])
def test_what_is_no_bytes_is_a_type_error(wrong: object) -> None:
    for read in (SymbolTable.from_blob, SymbolTable.from_elf, SymbolTable.from_text):
        with pytest.raises(TypeError, match="expected bytes"):
            read(wrong)  # type: ignore[operator]


def test_names_that_are_no_utf_8_come_back_as_they_were() -> None:
    table = SymbolTable.from_text(b"1000 T caf\xe9\n1010 T \x80end")
    assert [os.fsencode(symbol.name) for symbol in table] == [b"caf\xe9", b"\x80end"]
    assert table.lookup_addr("caf\udce9") == 0x1000
    assert [symbol.addr for symbol in table.search("\udc80")] == [0x1010]
    assert table.lookup_addr("caf\ud800") is None
    assert list(SymbolTable.from_text(table.to_text())) == list(table)
    assert list(SymbolTable.from_blob(table.to_blob())) == list(table)


def test_forms_are_written_and_read_again(table: SymbolTable) -> None:
    assert table.to_text() == TEXT
    for style in ("ksym", "ksym-0.6"):
        again = SymbolTable.from_blob(table.to_blob(style), STEXT, ETEXT)
        assert again.to_text() == TEXT
    with pytest.raises(ValueError, match=r'style is "zip"; expected "ksym-0\.6" or "ksym"'):
        table.to_blob("zip")


def test_errors_name_line_and_offset(blob: bytes) -> None:
    with pytest.raises(SymbolError, match=r"offset 0x8: 72057594037927941 symbols do not fit") as count:
        SymbolTable.from_blob(blob[:15] + b"\1" + blob[16:], STEXT, ETEXT)
    assert (count.value.offset, count.value.line) == (8, None)
    with pytest.raises(SymbolError, match="line 2: no symbol in this text") as text:
        SymbolTable.from_text("\nnonsense")
    assert (text.value.offset, text.value.line) == (None, 2)
    with pytest.raises(SymbolError, match="not an ELF file") as elf:
        SymbolTable.from_elf(blob)
    assert elf.value.offset == 0
    with pytest.raises(SymbolError, match="control characters or outer blanks") as written:
        SymbolTable.from_blob(blob.replace(b"vcpu_run", b"vcpu\nrun")).to_text()
    assert (written.value.offset, written.value.line) == (None, None)


def test_a_range_must_be_one() -> None:
    for stext, etext in ((-1, 5), (0, 1 << 64)):
        with pytest.raises(SymbolError, match="an address is 0 to 0xffffffffffffffff"):
            SymbolTable.from_text("", stext, etext)
    with pytest.raises(SymbolError, match="etext 0x1 lies below stext 0x2"):
        SymbolTable.from_text("", 2, 1)


def test_lines_that_are_no_symbols_are_counted() -> None:
    table = SymbolTable.from_text("1000 T run\n  U printf\nnonsense\n\n# comment\n")
    assert (len(table), table.skipped, table.undefined) == (1, 1, 1)


def test_a_file_of_any_form_is_told_by_its_first_bytes(table: SymbolTable, tmp_path: Path) -> None:
    path = tmp_path / "symbols"
    for data in (TEXT.encode(), table.to_blob("ksym"), table.to_blob("ksym-0.6")):
        path.write_bytes(data)
        assert list(SymbolTable.from_file(path, STEXT, ETEXT)) == list(table)
    assert SymbolTable.from_file(axebpf._native.__file__).lookup_addr("PyInit__native")
    with pytest.raises(SymbolError, match="nowhere cannot be read: No such file or directory"):
        SymbolTable.from_file(tmp_path / "nowhere")


def test_the_nearest_name_is_one_of_the_table(table: SymbolTable) -> None:
    assert table.nearest("vcpu_rum") == "vcpu_run"
    assert table.nearest("quite something else") is None


# A bench's symbols


def test_a_bench_has_an_empty_table_until_it_is_given_one(table: SymbolTable) -> None:
    with axebpf.Bench() as bench, axebpf.Bench() as other:
        assert (len(bench.symbols), bench.has_symbols) == (0, False)
        bench.symbols = table
        assert bench.symbols is table
        assert (len(other.symbols), other.has_symbols) == (0, False)
        with pytest.raises(TypeError, match="symbols is str; expected a SymbolTable"):
            bench.symbols = TEXT  # type: ignore[assignment]
    with pytest.raises(BenchClosed):
        _ = bench.symbols
    with pytest.raises(BenchClosed):
        bench.symbols = table


# The seed's functions. First what its own tests say, by their subjects.


@pytest.fixture
def default_bench() -> Iterator[axebpf.Bench]:
    axebpf.init().close()
    with axebpf.init() as bench:
        yield bench


@pytest.fixture
def no_bench() -> None:
    axebpf.init().close()


def test_is_initialized_is_callable(no_bench: None) -> None:
    assert symbols.is_initialized() is False


@pytest.mark.parametrize("addr", [0, (1 << 64) - 1, 0x1000])
def test_lookup_symbol_before_init_does_not_panic(no_bench: None, addr: int) -> None:
    assert symbols.lookup_symbol(addr) is None
    with axebpf.init():
        assert symbols.lookup_symbol(addr) is None


@pytest.mark.parametrize("name", ["", "x" * 2048, "unknown"], ids=["empty", "long", "unknown"])
def test_lookup_addr_before_init_does_not_panic(no_bench: None, name: str) -> None:
    assert symbols.lookup_addr(name) is None
    assert symbols.search_symbols(name, 10) == []
    with axebpf.init():
        assert symbols.lookup_addr(name) is None
        assert symbols.search_symbols(name, 10) == []


def test_errors_display_already_initialized_the_reason_and_not_initialized(no_bench: None, blob: bytes) -> None:
    with pytest.raises(NotInitialized, match="not initialized"):
        symbols.init(blob, STEXT, ETEXT)
    with axebpf.init():
        symbols.init(blob, STEXT, ETEXT)
        with pytest.raises(AlreadyInitialized, match="already initialized"):
            symbols.init(blob, STEXT, ETEXT)
        with pytest.raises(SymbolError, match="would end at 8, behind the end of the blob at 4"):
            symbols.init(bytes(4), STEXT, ETEXT)


@pytest.mark.parametrize("data", [b"", b"\xff" * 4], ids=["empty", "ff"])
def test_init_with_invalid_data_is_an_error(no_bench: None, data: bytes) -> None:
    with pytest.raises(SymbolError):
        symbols.init(data, STEXT, ETEXT)
    with axebpf.init(), pytest.raises(SymbolError):
        symbols.init(data, STEXT, ETEXT)


def test_a_failed_init_does_not_poison_what_follows(default_bench: axebpf.Bench, blob: bytes) -> None:
    # In the seed the flag was set before the blob was read.
    for wrong in (b"", blob[:-1], struct.pack("<Q", 1 << 60) + bytes(100)):
        with pytest.raises(SymbolError):
            symbols.init(wrong, STEXT, ETEXT)
        assert not symbols.is_initialized()
    symbols.init(blob, STEXT, ETEXT)
    assert symbols.is_initialized()
    assert symbols.lookup_addr("vcpu_run") == STEXT


def test_after_init_the_default_bench_has_the_symbols(default_bench: axebpf.Bench, blob: bytes) -> None:
    symbols.init(blob, STEXT, ETEXT)
    assert symbols.lookup_symbol(STEXT + 0x81) == ("probe", STEXT + 0x80, 0x1000 - 0x80, 1, "t")
    assert symbols.lookup_symbol(STEXT - 1) is None
    assert symbols.search_symbols("exit", 1) == [("handle_exit", STEXT + 0x40)]
    assert default_bench.symbols.to_text() == TEXT


def test_a_second_init_leaves_the_first_table(default_bench: axebpf.Bench, blob: bytes) -> None:
    symbols.init(blob, STEXT, ETEXT)
    with pytest.raises(AlreadyInitialized, match=r"bench\.symbols"):
        symbols.init(bytes(4096), 0, 1)
    assert symbols.lookup_addr("vcpu_run") == STEXT
    default_bench.symbols = SymbolTable()
    assert (symbols.is_initialized(), symbols.lookup_addr("vcpu_run")) == (True, None)


def test_a_placeholder_of_zeros_is_a_table_without_symbols(default_bench: axebpf.Bench) -> None:
    symbols.init(bytes(4096), STEXT, ETEXT)
    assert symbols.is_initialized()
    assert symbols.lookup_symbol(STEXT) is None


def test_a_new_default_bench_has_no_symbols_yet(default_bench: axebpf.Bench, blob: bytes) -> None:
    symbols.init(blob, STEXT, ETEXT)
    default_bench.close()
    assert not symbols.is_initialized()
    assert symbols.lookup_addr("vcpu_run") is None
    with axebpf.init():
        assert not symbols.is_initialized()
        symbols.init(blob, STEXT, ETEXT)
        assert symbols.lookup_addr("vcpu_run") == STEXT
