# The front door. Every target sets up what it needs on a fresh Debian 12 or
# Ubuntu 24.04 (packages, virtual environment, build) and says what it does.
BUILD ?= build-dev
VENV ?= .venv
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 30
FUZZ_RUNS ?= 0
# Warnings of compilers that are not ours must not stop a user.
WERROR ?= $(if $(CI),ON,OFF)
# Words for the guard: make bench-check CHECK="--only redis"
CHECK ?=
# Tests to keep, by part of their names: make test T="env thread"
T ?=

PY := $(VENV)/bin/python
# Sanitizers' shadow memory and address randomisation may collide.
FIXED := $(shell setarch -R true 2>/dev/null && echo setarch -R)
SOURCES = $(shell find core bindings/python setup.py pyproject.toml \
	CMakeLists.txt -type f -not -name '*.pyc' -not -path '*.egg-info/*' \
	2>/dev/null)

# A comma in a variable does not part the arguments of a call.
ADDRESS := address,undefined

# $(call build,DIR,CMAKE ARGUMENTS[,TARGET]): all, or TARGET alone and quietly
define build
@echo "build: $(1)$(if $(3), ($(3)))"
@mkdir -p $(1)
@cmake -S . -B $(1) -G Ninja -DREEVE_WERROR=$(WERROR) $(2) > $(1)/configure.log 2>&1 || \
	{ cat $(1)/configure.log; exit 1; }
@cmake --build $(1) -j $(JOBS) $(if $(3),--target $(3) > $(1)/build.log 2>&1 || \
	{ cat $(1)/build.log; exit 1; })
endef

.PHONY: asanpython bench-check help demo demo-openresty test lint bench bench-report wheel install installlua fuzz asan tsan valgrind \
	prove provesan build python abi clean setup

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

demo: python ## see it work: workers, tasks that fail, retries, dead letters
	$(PY) -m reeve demo

demo-openresty: python ## nginx enqueues over HTTP; nginx and Python work
	@tools/setup.sh nginx
	$(call build,$(BUILD),-DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DCMAKE_C_FLAGS_RELWITHDEBINFO="-O2 -g",reeve_lua51)
	@$(PY) docs/examples/openresty/demo.py --build $(BUILD)

test: build python ## run every suite; the last line is "N passed, N failed"
	@tools/setup.sh test nginx count
	@$(PY) tests/run.py --build $(BUILD) $(T)

lint: build $(VENV)/.dev ## check floors, sizes, ABI, headers, layout, types
	@tools/setup.sh test
	@$(PY) tests/run.py --suite lint --build $(BUILD) $(T)

abi: build ## take a new snapshot of the binary interface
	@tools/setup.sh test
	REEVE_BUILD_DIR=$(BUILD) python3 tests/lint/check_abidiff.py --write

bench: python ## measure reeve and its peers (BENCH="--quick --only reeve,rq")
	@tools/setup.sh bench
	$(call build,build-bench,-DCMAKE_BUILD_TYPE=Release)
	@$(PY) tests/bench/run.py --build build-bench $(BENCH)

bench-report: ## write docs/benchmarks.md and its pictures from the records
	@python3 tests/bench/report.py

bench-check: build python ## fail when a counted cost has risen (CHECK=--write)
	@tools/setup.sh count
	@$(PY) tests/bench/check.py --build $(BUILD) $(CHECK)

wheel: $(VENV)/.dev ## build the wheel and the source package into dist/
	@PYTHON=$(PY) tools/wheel.sh dist

install: setup ## install the C library below PREFIX (/usr/local)
	$(call build,build-install,-DCMAKE_BUILD_TYPE=Release \
		-DREEVE_TESTS=OFF \
		-DCMAKE_INSTALL_PREFIX=$(PREFIX))
	cmake --install build-install

installlua: setup ## install the Lua modules and reeve-lua below PREFIX
	$(call build,build-install,-DCMAKE_BUILD_TYPE=Release \
		-DREEVE_TESTS=OFF -DREEVE_LUA=ON \
		-DCMAKE_INSTALL_PREFIX=$(PREFIX))
	cmake --install build-install --component lua

fuzz: setup ## run each fuzz target for FUZZ_SECONDS (30) or FUZZ_RUNS
	@tools/setup.sh fuzz
	$(call build,build-fuzz,-DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DCMAKE_C_FLAGS_RELWITHDEBINFO="-O2 -g" \
		-DCMAKE_C_COMPILER=clang -DREEVE_TESTS=OFF -DREEVE_FUZZ=ON \
		-DREEVE_SANITIZE=$(ADDRESS))
	@python3 tests/run.py --suite fuzz --build build-fuzz \
		--seconds $(FUZZ_SECONDS) --runs $(FUZZ_RUNS) $(T)

asan: setup ## run the C suites under AddressSanitizer and UBSan
	$(call build,build-asan,-DCMAKE_BUILD_TYPE=Debug \
		-DREEVE_SANITIZE=$(ADDRESS))
	@python3 tests/run.py --suite c --build build-asan \
		--wrapper "$(FIXED)" $(T)

asanpython: $(VENV)/.dev ## run the Python suite with a sanitizers' build
	@tools/setup.sh test
	@PYTHON=$(PY) tools/asan_python.sh $(T)

tsan: setup ## run the C suites under ThreadSanitizer
	$(call build,build-tsan,-DCMAKE_BUILD_TYPE=Debug \
		-DREEVE_SANITIZE=thread)
	@python3 tests/run.py --suite c --build build-tsan \
		--wrapper "$(FIXED)" $(T)

valgrind: setup ## run the C suites under valgrind, leaks are failures
	@tools/setup.sh valgrind
	$(call build,build-valgrind,-DCMAKE_BUILD_TYPE=Debug)
	@python3 tests/run.py --suite c --build build-valgrind --wrapper \
		"valgrind -q --error-exitcode=99 --leak-check=full" $(T)

prove: build python ## kill, freeze, cut and skew; print what held (T="kills cuts")
	@tools/setup.sh test
	@python3 tests/e2e/prove.py --build $(BUILD) $(T)

provesan: setup ## the short proofs with the sanitizers' builds
	@tools/setup.sh test
	$(call build,build-asan,-DCMAKE_BUILD_TYPE=Debug \
		-DREEVE_SANITIZE=$(ADDRESS))
	$(call build,build-tsan,-DCMAKE_BUILD_TYPE=Debug \
		-DREEVE_SANITIZE=thread)
	@python3 tests/e2e/prove.py --short --build build-asan $(T)
	@python3 tests/e2e/prove.py --short --build build-tsan $(T)

build: setup ## build the C library and its tests, asserts on
	$(call build,$(BUILD),-DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DCMAKE_C_FLAGS_RELWITHDEBINFO="-O2 -g")

python: $(VENV)/.reeve ## install the Python package into .venv

clean: ## remove build trees, packages and the virtual environment
	rm -rf build build-dev build-install build-fuzz build-asan build-tsan \
		build-valgrind build-bench build-asan-python dist $(VENV)

setup:
	@tools/setup.sh build

$(VENV)/.dev: requirements-dev.txt tools/venv.sh | setup
	@tools/venv.sh $(VENV)
	@touch $@

$(VENV)/.reeve: $(VENV)/.dev $(SOURCES)
	@echo "python: installing reeve into $(VENV): compiling the core, about a minute"
	@rm -rf build/lib* # setuptools would pack what is no longer a source
	@$(PY) -m pip install --quiet --disable-pip-version-check .
	@touch $@
