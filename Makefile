# Two commands: `make demo` sets up and shows the main job; `make test` sets up and passes the tests.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint rust-test python-test fuzz bench screenshots docs clean

PYTHON ?= python3
BIN := .venv/bin
CARGO := cd sip_filter/rust && cargo
RUST := $(shell find sip_filter/rust -name target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
CORE := sip_filter/_core.abi3.so
CONSOLE := agent/console
VENDOR := $(CONSOLE)/static/vendor/installed
# Compiling every module anew is half of a command's start.
unexport PYTHONDONTWRITEBYTECODE

# What `make fuzz` runs, each so long, from the vectors on.
FUZZ ?= element frame message identity number list
SECONDS ?= 600
SEEDS := ../../tests/vectors/rfc4475 ../../tests/vectors/rfc5118

TEST_PROGRAMS := redis-server=redis-server mosquitto=mosquitto sipp=sip-tester strace=strace kamailio=kamailio ip=iproute2 \
	/usr/share/doc/kamailio-python3-modules=kamailio-python3-modules \
	/usr/share/doc/kamailio-redis-modules=kamailio-redis-modules chromium=chromium promtool=prometheus

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(CORE) $(VENDOR) ## Everything Palang needs to run; leaves .venv/bin/palang
	@.ci/need redis-server=redis-server mosquitto=mosquitto

demo: setup ## The main job on real parts, in about a minute
	@$(BIN)/palang demo

test: setup lint rust-test python-test ## Lint, types, contracts and all quick tests

test-all: setup ## The long matrices and kill loops
	@.ci/need $(TEST_PROGRAMS)
	$(BIN)/python -P -m pytest -m slow --timeout 900

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings

rust-test:
	$(CARGO) test --quiet --workspace --exclude palang-python

python-test: setup
	@.ci/need $(TEST_PROGRAMS)
	$(BIN)/python -P -m pytest -m "not slow" --numprocesses 2 --dist loadfile --no-loadscope-reorder

fuzz: ## Fuzz each of FUZZ for SECONDS=600 (nightly Rust and cargo-fuzz)
	@cargo +nightly --version >/dev/null 2>&1 || { echo "make fuzz needs nightly Rust: rustup toolchain install nightly" >&2; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || { echo "make fuzz needs cargo-fuzz: cargo install cargo-fuzz" >&2; exit 1; }
	@cd sip_filter/rust && for target in $(FUZZ); do \
		mkdir -p fuzz/corpus/$$target && cargo +nightly fuzz run $$target fuzz/corpus/$$target $(SEEDS) -- \
		-max_total_time=$(SECONDS) -max_len=4096 -print_final_stats=1 || exit 1; done

bench: setup .venv/perf-installed ## Palang beside its rivals, with every bar: the figures that the README quotes (QUICK=1: one row)
	@.ci/need kamailio=kamailio /usr/share/doc/kamailio-python3-modules=kamailio-python3-modules
	$(BIN)/python -P -m perf.run $(if $(QUICK),--rounds 1 --rows reject)
	@$(BIN)/python -P -m perf.plot

screenshots: setup ## Every page of the console in both themes, into docs/screenshots
	@.ci/need chromium=chromium
	$(BIN)/python -P -m tests.console.screenshots docs/screenshots

docs: setup ## Write the generated pages anew
	$(BIN)/python -P -m agent.reference

clean: ## Remove everything that was made here
	rm -rf .venv .palang sip_filter/rust/target $(CORE) $(CONSOLE)/node_modules $(CONSOLE)/static/vendor

# The virtual environment follows the lock; the extension follows the Rust sources.
.venv/installed: pyproject.toml requirements.lock
	@.ci/toolchain $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing Python packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv -r requirements.lock
	@touch $@

# What the console's pages load comes from npm, pinned by the lock file; no script of a package runs.
$(VENDOR): $(CONSOLE)/package.json $(CONSOLE)/package-lock.json
	@command -v npm >/dev/null || { echo "Palang needs npm: apt-get install npm" >&2; exit 1; }
	@echo "fetching what the console's pages load"
	@cd $(CONSOLE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@mkdir -p $(@D) && cd $(CONSOLE)/node_modules && cp htmx.org/dist/htmx.min.js htmx-ext-sse/dist/sse.min.js \
		uplot/dist/uPlot.iife.min.js uplot/dist/uPlot.min.css ../static/vendor/
	@touch $@

# What draws the plot is for `make bench` alone.
.venv/perf-installed: .venv/installed perf/requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv -r perf/requirements.lock
	@touch $@

$(CORE): .venv/installed $(RUST)
	@echo "building the Rust core"
	@said=$$(VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/maturin develop --release 2>&1) || { echo "$$said"; exit 1; }
	@touch $@
