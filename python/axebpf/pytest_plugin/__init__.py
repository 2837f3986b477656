"""The pytest plugin: what it does for tests of tracing programs. It comes with axebpf; nothing needs to be imported.

    def test_slow_exits_are_counted(bench, bpf_object):
        bench.load(bpf_object("exits.bpf.c")).attach()
        bench.tracepoints["vmm:vcpu_run_exit"].fire(vm_id=1, vcpu_id=0, exit_reason=0, duration_ns=1200)
        assert bench.maps["EXITS"] == {(1, 0): (1, 1200, 1200)}

- `bench` is a fresh bench, all of whose events enter the trace. `@pytest.mark.axebpf(cpus=2, seed=7)`, on a test, a
  class or (`pytestmark`) a module, gives options of `Bench`; the nearest wins. The test runs once on every engine that
  there is, or on those of `--axebpf-engine`, or on the one that the marker names.
- `--axebpf-target=axvisor` runs the tests on target axvisor, `--axebpf-target=all` on both targets; the setting
  `axebpf_target`, in `pytest.ini` or pyproject.toml, is the same for every run. A test whose marker names a target,
  `@pytest.mark.axebpf(target="linux")`, or `target="all"` for both, keeps to that; where the option has chosen another
  one, it is skipped. What a target cannot do fails with what the bench says. `axebpf_target` and `axebpf_engine` are
  fixtures with their names.
- `bpf_object` compiles C beside the test, and keeps the object in pytest's cache until source, headers, flags or
  compiler change. `#include "vmm.h"` finds what `axebpf header` writes, unless there is one beside the source.
- A test that fails shows the last events, the end of the trace, the maps that changed, and the source lines that ran.
- `assert bench.maps["EXITS"] == {...}` says which keys are missing, which were not expected, and which members differ.

A fixture of one's own named `bench` takes the place of this one, and may build on it:

    @pytest.fixture
    def bench(bench, bpf_object):
        bench.load(bpf_object("exits.bpf.c")).attach()
        return bench

`pytest -p no:axebpf` goes without the plugin. `pytest_axebpf`, a module beside this package, has its hooks.
"""
