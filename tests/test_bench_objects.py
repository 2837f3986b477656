"""Object files: damaged ones, foreign ones, what they ask for that is not there, and the options of loading."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from axebpf import AxebpfError, Bench, LoadError, MapError, errors
from axebpf.examples import example

DATA = Path(__file__).parent / "data"
EXITS = example("exits.bpf.o").read_bytes()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "the file is empty"),
        (b"#include <linux/bpf.h>", "not an ELF object.*compile with clang"),
        (EXITS[:4], "malformed ELF.*truncated"),
        (EXITS[:60], "malformed ELF.*truncated"),
        (EXITS[: len(EXITS) // 2], "malformed ELF.*truncated"),
        (EXITS[:4] + b"\1" + EXITS[5:], "32|class"),
        (EXITS[:5] + b"\2" + EXITS[6:], "little-endian.*-target bpfel"),
        (EXITS[:18] + b"\x3e\0" + EXITS[20:], "EM_X86_64, expected EM_BPF; compile with clang -target bpf"),
    ],
)
def test_a_file_that_is_no_bpf_object(data: bytes, text: str) -> None:
    bench = Bench()
    with pytest.raises(LoadError, match=f"<bytes>.*{text}"):
        bench.load(data)
    assert len(bench.load(EXITS)) == 1


@pytest.mark.parametrize(
    ("path", "text"), [("", "No such file"), ("nowhere.bpf.o", "No such file"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, path: str, text: str) -> None:
    file = str(tmp_path / path) if path else ""
    with pytest.raises(LoadError, match=text) as caught:
        Bench().load(file)
    assert caught.value.file == file


def test_an_object_is_a_path_a_text_or_bytes() -> None:
    path = example("exits.bpf.o")
    for source in (path, str(path), EXITS, bytearray(EXITS), memoryview(EXITS)):
        assert list(Bench().load(source)) == ["on_exit"]


def test_damaged_objects_are_refused_or_loaded_and_never_more() -> None:
    """Bits flipped and bytes cut off at places that a seed chooses; what loads is run too."""
    dice = random.Random(20_000_101)
    bench = Bench(budget=10_000)
    outcomes = {"loaded": 0, "refused": 0}
    for name in ("exits.bpf.o", "latency.bpf.o", "slow_exits.bpf.o"):
        whole = example(name).read_bytes()
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(dice.choice((1, 1, 3, 32))):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            if dice.random() < 0.2:
                del data[dice.randrange(len(data)) :]
            try:
                for program in bench.load(bytes(data)).values():
                    program.run(bytes(32))
                outcomes["loaded"] += 1
            except AxebpfError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 100
    assert bench.load(EXITS)["on_exit"].run(bytes(32)).r0 == 0


def test_nothing_of_a_refused_object_stays() -> None:
    bench = Bench()
    with pytest.raises(MapError, match="max_entries"):
        bench.load(EXITS, max_entries={"EXITS": 0})
    assert (len(bench.maps), len(bench.programs)) == (0, 0)


def refused() -> list[tuple[str, str, str, str]]:
    """Name, class of the error, pattern of its message, source."""
    parts = (DATA / "refused_objects.c").read_text().split("//- ")[1:]
    return [(*part.partition("\n")[0].split(" ", 2), part.partition("\n")[2]) for part in parts]


@pytest.mark.parametrize(("name", "error", "message", "text"), refused(), ids=[case[0] for case in refused()])
def test_what_an_object_asks_for_in_vain_is_named(
    compile_bpf: Any, name: str, error: str, message: str, text: str
) -> None:
    path = compile_bpf(name, text)
    bench = Bench()
    with pytest.raises(getattr(errors, error), match=message) as caught:
        bench.load(path)
    if isinstance(caught.value, LoadError):
        assert caught.value.file is not None
        assert Path(caught.value.file).name == f"{name}.bpf.o"
    assert (len(bench.maps), len(bench.programs)) == (0, 0)


def test_a_big_endian_object_says_how_to_compile(compile_bpf: Any) -> None:
    source = 'SEC("tracepoint/vmm/vm_boot") int p(void *c) { return 0; }'
    with pytest.raises(LoadError, match=r"little-endian.*-target bpfel"):
        Bench().load(compile_bpf("big", source, target="bpfeb"))


def test_the_fault_of_a_compiled_program_names_its_line(compile_bpf: Any) -> None:
    text = """
static __noinline int deeper(volatile char *at) {
    return at[600]; /* here */
}
SEC("tracepoint/vmm/vm_boot") int wild(void *ctx) {
    char here[16] = {};
    return deeper(here);
}
"""
    path = compile_bpf("wild", text)
    bench = Bench()
    bench.load(path)["wild"].attach()
    with pytest.raises(AxebpfError, match="here") as caught:
        bench.tracepoints["vmm:vm_boot"].fire(1, 2)
    lines = path.with_suffix(".c").read_text().splitlines()
    assert f"wild.bpf.c:{lines.index('    return at[600]; /* here */') + 1}" in str(caught.value)


# Options

OPTIONS = """
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 8);
    __type(key, __u32);
    __type(value, __u32);
} TABLE SEC(".maps");
struct pair { __u16 left; __s8 right; };
const volatile __u32 limit = 5;
const volatile char who[8] = "axe";
const volatile _Bool on = 1;
volatile struct pair both = {1, -2};
__u64 counter;
static volatile int hidden = 3;
SEC("tracepoint/vmm/vm_boot") int named(void *ctx) {
    counter += limit + both.left + hidden + on + who[0];
    return 0;
}
SEC("strange") int nameless(void *ctx) { __u32 key = 1; return bpf_map_update_elem(&TABLE, &key, &key, 0); }
"""


@pytest.fixture(scope="session")
def options(compile_bpf: Any) -> Path:
    path: Path = compile_bpf("options", OPTIONS)
    return path


def test_global_variables_are_typed_and_can_be_set(options: Path) -> None:
    bench = Bench()
    progs = bench.load(options)
    assert dict(progs.globals) == {
        "limit": 5,
        "who": b"axe",
        "on": True,
        "both": (1, -2),
        "counter": 0,
        "hidden": 3,
    }
    progs["named"].attach()
    bench.tracepoints["vmm:vm_boot"].fire(1, 2)
    assert progs.globals["counter"] == 5 + 1 + 3 + 1 + ord("a")
    progs.globals["both"] = {"left": 100, "right": 0}
    progs.globals["counter"] = 2**64 - 1
    bench.tracepoints["vmm:vm_boot"].fire(1, 2)
    assert progs.globals["counter"] == 5 + 100 + 3 + 1 + ord("a") - 1
    with pytest.raises(MapError, match=r"not permitted \(EPERM\)"):
        progs.globals["limit"] = 6
    with pytest.raises(ValueError, match="the variable counter: u64 holds 0 to 18446744073709551615, not -1"):
        progs.globals["counter"] = -1
    with pytest.raises(KeyError, match=r"no global variable countr; did you mean counter\?"):
        progs.globals["countr"]


def test_rodata_sets_constants_before_the_load(options: Path) -> None:
    bench = Bench()
    values = {"limit": 77, "who": "bob", "on": False, "both": (7, 7), "hidden": -1}
    progs = bench.load(options, rodata=values)
    assert dict(progs.globals) == {**values, "who": b"bob", "counter": 0}
    progs["named"].run(bytes(24))
    assert progs.globals["counter"] == 77 + 7 - 1 + 0 + ord("b")


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"rodata": {"limt": 1}}, r"no global variable limt; did you mean limit\?"),
        ({"rodata": {"limit": 2**32}}, "the variable limit: u32 holds 0 to 4294967295, not 4294967296"),
        ({"rodata": {"limit": "many"}}, "the variable limit: u32 takes an integer, not str"),
        ({"rodata": {"who": "much too long"}}, "the variable who: .*is longer than char"),
        ({"rodata": {"both": (1, 2, 3)}}, r"struct pair has 2 members \(left, right\), got 3 values"),
        ({"max_entries": {"TABEL": 1}}, r"has no map TABEL; did you mean TABLE\?"),
        ({"max_entries": {"TABLE": -1}}, "max_entries of TABLE is -1"),
        ({"types": {"namelss": "tracepoint"}}, r"has no program namelss; did you mean nameless\?"),
        ({"types": {"nameless": "tracepint"}}, "has no program type tracepint"),
        ({"only": ["name"]}, "has no program name"),
    ],
)
def test_options_that_name_nothing_or_do_not_fit(options: Path, keywords: dict[str, Any], text: str) -> None:
    bench = Bench()
    with pytest.raises(LoadError, match=text) as caught:
        bench.load(options, **keywords)
    assert str(caught.value).count("options.bpf.o") == 1
    assert (len(bench.maps), len(bench.programs)) == (0, 0)


def test_capacity_type_and_choice_of_programs(options: Path) -> None:
    bench = Bench()
    progs = bench.load(options, max_entries={"TABLE": 99}, types={"nameless": "raw_tracepoint"}, only=["nameless"])
    assert list(progs) == ["nameless"]
    assert progs.maps["TABLE"].max_entries == 99
    assert (progs["nameless"].type, progs["nameless"].section) == ("raw_tracepoint", "strange")
    progs["nameless"].attach("vmm:vm_boot")
    bench.tracepoints["vmm:vm_boot"].fire(1, 2)
    assert progs.maps["TABLE"] == {1: 1}


def test_a_program_without_a_type_runs_by_hand(options: Path) -> None:
    progs = Bench().load(options)
    assert progs["nameless"].type is None
    assert progs["nameless"].run(bytes(8)).r0 == 0
    assert progs.license == "GPL"
    assert [program.name for program in progs.values()] == ["named", "nameless"]
