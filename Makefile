# axebpf: build, test, show. Needs Rust and Python 3.11 or later; everything else goes into .venv by itself.
# Works with GNU make 3.81 (macOS) too.
#
#   make                      the list of targets
#   make demo PYTHON=python3.13

.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
CARGO ?= cargo
CLANG ?= $(shell for c in clang-14 clang-19 clang; do command -v $$c && break; done)

# The first Python that really starts and is new enough: a version manager's shims may exist and refuse to run.
ifndef PYTHON
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
endif

# What cargo builds of PyO3 without maturin (clippy) is for the Python of .venv too.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

RUST_SOURCES := Cargo.toml Cargo.lock rust-toolchain.toml $(wildcard .cargo/config.toml) \
	$(shell find rust \( -path '*/src/*' -o -name Cargo.toml \) -type f)

# A list of requirements out of pyproject.toml: $(call requirements,build-system.requires)
requirements = $(BIN)/python -c 'import functools, tomllib; \
	table = tomllib.load(open("pyproject.toml", "rb")); \
	print("\n".join(functools.reduce(dict.__getitem__, "$(1)".split("."), table)))'

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

# --- what the targets stand on -------------------------------------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "axebpf needs Python 3.11 or later and found none; say which with make PYTHON=..." >&2; exit 1; }
	@# half a .venv (Debian without python3-venv) would look like a whole one the next time
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/builder.stamp: pyproject.toml | $(BIN)/python
	$(call requirements,build-system.requires) > $(VENV)/builder.txt
	$(BIN)/pip install --quiet --requirement $(VENV)/builder.txt
	@touch $@

# The extension module, and the package's own requirements. Python sources are used in place.
$(VENV)/package.stamp: $(VENV)/builder.stamp $(RUST_SOURCES)
	$(BIN)/maturin develop --release
	@touch $@

$(VENV)/dev.stamp $(VENV)/docs.stamp: $(VENV)/%.stamp: pyproject.toml | $(BIN)/python
	$(call requirements,project.optional-dependencies.$*) > $(VENV)/$*.txt
	$(BIN)/pip install --quiet --requirement $(VENV)/$*.txt
	@touch $@

.PHONY: develop
develop: $(VENV)/package.stamp $(VENV)/dev.stamp ## .venv with axebpf, built for speed, and the tools of development

# --- what a person asks for ----------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/package.stamp ## a two-VM boot under a tracing program: maps, histogram, trace
	@$(BIN)/axebpf demo

# Rust first: what fails there explains what fails above it. A Rust test that skips itself says so in its output, which
# is kept and shown again at the end; pytest prints what it skipped by itself.
RUST_LOG = $(VENV)/rust-tests.log

.PHONY: test
test: SHELL = bash
test: $(VENV)/package.stamp $(VENV)/dev.stamp ## every test; the end says what was skipped and why
	@set -o pipefail; \
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo "$(CARGO) nextest run"; \
		$(CARGO) nextest run --success-output final --no-fail-fast 2>&1 | tee $(RUST_LOG) | grep -v '^ *PASS' \
			&& $(CARGO) test --quiet --doc; \
	else \
		echo "$(CARGO) test"; $(CARGO) test --quiet -- --show-output 2>&1 | tee $(RUST_LOG); \
	fi
	$(BIN)/pytest
	@echo; echo "Rust tests that were skipped:"; grep -ho 'skipped: .*' $(RUST_LOG) | sort | uniq -c || echo "  none"

.PHONY: check
check: $(VENV)/package.stamp $(VENV)/dev.stamp ## formatters, linters, types, the stub, the floors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --quiet -p axebpf-core --test floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest axebpf._native
	$(BIN)/lint-imports

.PHONY: bench
bench: $(VENV)/package.stamp $(VENV)/dev.stamp ## Rust benches, then the anchors where clang and gcc are
	$(CARGO) bench -p axebpf-core
	$(BIN)/python benches/python/fire.py
	$(BIN)/python benches/python/workloads.py
	$(BIN)/python benches/python/replay.py
	@if command -v gcc >/dev/null && [ -n "$(CLANG)" ] && [ -e /usr/include/bpf/bpf_helpers.h ]; then \
		$(BIN)/python benches/anchors/bench.py --clang "$(CLANG)" --rounds 3 --repeat 200000; \
	else \
		echo "bench: the anchors need gcc, clang and libbpf's headers; left out"; \
	fi

.PHONY: docs
docs: $(VENV)/package.stamp $(VENV)/docs.stamp ## the guide and the reference, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

.PHONY: pictures
pictures: $(VENV)/package.stamp ## draw the pictures of the guide again
	$(BIN)/python docs/pictures.py

.PHONY: fuzz
fuzz: ## fuzz the readers of untrusted input, a minute each (needs cargo-fuzz and a nightly toolchain)
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo "fuzz: needs cargo-fuzz: cargo install cargo-fuzz" >&2; exit 1; }
	for target in $$($(CARGO) +nightly fuzz list); do \
		$(CARGO) +nightly fuzz run $$target -- -max_total_time=60 || exit 1; done

# Rust has the sanitizer's runtime in its own executables; Python's gets gcc's before everything else. Python's own
# allocator would hide from it where a block ends.
ASAN := target/asan
ASAN_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
ASAN_CARGO = RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address AXEBPF_OPERATIONS=$(OPERATIONS) $(CARGO)
ASAN_FLAGS = --target $(ASAN_HOST) --target-dir $(ASAN)
OPERATIONS := $(or $(AXEBPF_OPERATIONS),1000000)

.PHONY: asan
asan: $(VENV)/package.stamp $(VENV)/dev.stamp ## AxVisor's maps at random, threads, and views of maps in Python, under AddressSanitizer (Linux, gcc)
	$(ASAN_CARGO) test $(ASAN_FLAGS) -p axebpf-core --features axvisor --test axvisor_random --test axvisor_maps --test axvisor_vm
	$(ASAN_CARGO) test $(ASAN_FLAGS) -p axebpf-core --test bench_crew --test map_threads
	$(ASAN_CARGO) build $(ASAN_FLAGS) -p axebpf-python
	rm -rf $(ASAN)/python && mkdir -p $(ASAN)/python && cp -R python/axebpf $(ASAN)/python/
	cp $(ASAN)/$(ASAN_HOST)/debug/lib_native.so $(ASAN)/python/axebpf/_native.abi3.so
	LD_PRELOAD=$$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		PYTHONPATH=$(ASAN)/python AXEBPF_OPERATIONS=$(OPERATIONS) $(BIN)/pytest -s tests/test_axvisor_random.py tests/test_maps_arrays.py

# The standard library comes without the sanitizer, hence the suppressions. Then eight threads count for a while.
TSAN := target/tsan
SECONDS_OF_RACE := $(or $(AXEBPF_SECONDS),10)

.PHONY: race
race: ## batches and maps on several threads under ThreadSanitizer, then eight threads that count for ten seconds (Linux)
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
		TSAN_OPTIONS="suppressions=$(CURDIR)/rust/core/tests/tsan.supp halt_on_error=1" $(CARGO) test --target $(ASAN_HOST) \
		--target-dir $(TSAN) -p axebpf-core --test bench_crew --test map_threads
	AXEBPF_SECONDS=$(SECONDS_OF_RACE) $(CARGO) test -p axebpf-core --test bench_crew eight_threads -- --nocapture

# --- objects that are committed ------------------------------------------------------------------------------------
# Rebuilt byte for byte by the same clang. They are compiled in their own folder and by relative names, and their DWARF
# is stripped: what is left (BTF with source lines) names no path of this machine.

LLVM_STRIP ?= $(patsubst clang%,llvm-strip%,$(notdir $(CLANG)))
BPF_CFLAGS := -O2 -g -Wall -Werror -target bpf -mcpu=v3 -idirafter /usr/include/$(shell uname -m)-linux-gnu

EXAMPLES := python/axebpf/examples
AXVISOR := tests/fixtures/axvisor
BPF_OBJECTS := $(patsubst %.c,%.o,$(wildcard $(EXAMPLES)/*.bpf.c)) \
	$(patsubst %.c,%.o,$(filter-out %kprobe_args.bpf.c,$(wildcard $(AXVISOR)/*.bpf.c))) \
	$(AXVISOR)/kprobe_args.arm64.bpf.o $(AXVISOR)/kprobe_args.x86.bpf.o

# $(call compile,flags)
compile = cd $(@D) && $(CLANG) $(BPF_CFLAGS) -fdebug-prefix-map=$(CURDIR)/$(@D)=. $(1) -c $(<F) -o $(@F) && $(LLVM_STRIP) -g $(@F)

.PHONY: examples
examples: $(BPF_OBJECTS) ## compile the C programs again (needs clang, llvm and libbpf's headers)

%.bpf.o: %.bpf.c $(wildcard $(EXAMPLES)/*.h) $(AXVISOR)/axvisor.h
	$(call compile,-D__TARGET_ARCH_arm64)

$(AXVISOR)/kprobe_args.arm64.bpf.o: $(AXVISOR)/kprobe_args.bpf.c $(AXVISOR)/axvisor.h
	$(call compile,-D__TARGET_ARCH_arm64)

$(AXVISOR)/kprobe_args.x86.bpf.o: $(AXVISOR)/kprobe_args.bpf.c $(AXVISOR)/axvisor.h
	$(call compile,-D__TARGET_ARCH_x86)
