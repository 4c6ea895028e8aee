# Everything sets itself up: `make run` and `make test` work from a clean clone, and do only what changed after that.
# CONTRIBUTING.md explains each target.

VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.done
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input install
PYTEST := $(BIN)/python -m pytest
SOURCES := $(shell find gateway -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
CYTHON := $(filter %.pyx %.pxd,$(SOURCES))

ARGS ?=
VARIANT ?= plain
T ?= tests bench
JOBS ?= 2
FUZZ_SECONDS ?= 60
SECONDS ?= 3600
SEEDS ?= 10000
COMPARE ?=
CLUSTER ?=

.DELETE_ON_ERROR:
.PHONY: help run build test lint format bench bench-cluster checker chaos simulate crowd soak conformance fuzz js proto asyncapi sanitize wheels hooks clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

run: $(DONE)/build ## start the gateway (ARGS='--listen 127.0.0.1:9000 ...')
	@exec $(BIN)/ringgate serve $(ARGS)

build: $(DONE)/build ## make .venv and compile the extensions, as far as needed

test: $(DONE)/build $(DONE)/test ## every test but the full suites (T=path/of/test.py, ARGS='-k name')
	@$(PYTEST) $(if $(filter-out tests bench,$(T)),,-n $(JOBS) --dist loadfile) $(T) $(ARGS)

lint: $(DONE)/build $(DONE)/test $(DONE)/bench $(DONE)/lint $(DONE)/fuzz ## ruff, mypy --strict and cython-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted; run: make format" >&2; exit 1; }
	@PATH="$(BIN):$$PATH" cython-lint $(CYTHON)
	@$(BIN)/mypy

format: $(DONE)/lint ## let ruff put the Python files into shape
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

bench: $(DONE)/build $(DONE)/test $(DONE)/bench ## measure inside the process and between servers (COMPARE=--quick), write docs/benchmarks.md
	@mkdir -p build
	@$(PYTEST) $(filter bench%,$(T)) --benchmark-enable --benchmark-only --benchmark-json=build/bench.json --timeout=600 $(ARGS)
	@$(BIN)/python -m bench.compare $(COMPARE)
	@$(BIN)/python -m bench.page
	@$(BIN)/python -m bench.tls
	@$(BIN)/python -m bench.hooks
	@$(BIN)/python -m bench.bystanders
	@$(BIN)/python -m bench.passed
	@$(BIN)/python -m bench.encodings
	@$(BIN)/python -m bench.bundle
	@$(BIN)/python -m bench.python_clients

bench-cluster: $(DONE)/build $(DONE)/test $(DONE)/bench ## measure two nodes around one Redis, and others in their place (CLUSTER='--only relay')
	@command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null || \
		scripts/apt-install "the benchmark of a cluster needs Redis" redis-server redis-tools
	@$(BIN)/python -m bench.cluster $(CLUSTER)
	@$(BIN)/python -m bench.cluster.page

checker: $(DONE)/build $(DONE)/test ## the checker of chaos runs against its planted bugs, each of which it has to find
	@$(PYTEST) -m "full or not full" tests/chaos/test_checker.py tests/chaos/test_hearing.py tests/chaos/test_converging.py tests/chaos/test_membership.py tests/chaos/test_planted_in_parts.py $(ARGS)

chaos: $(DONE)/build $(DONE)/test ## the whole matrix of faults (ARGS='--seed 7 -k killed'): 107 rows, for some of which minutes
	@$(PYTEST) -m full tests/chaos/test_matrix.py -s $(ARGS)

simulate: $(DONE)/build $(DONE)/test ## SEEDS (10000) simulated runs of three nodes on a simulated Redis (ARGS='--jobs 2 --first 5000')
	@$(BIN)/python -m tests.simulated --seeds $(SEEDS) $(ARGS)

crowd: $(DONE)/build $(DONE)/test ## 1,000 clients, Python and JavaScript, through the restart of their node, killed and drained: a minute
	@$(PYTEST) -m full tests/integration/test_client_crowd.py tests/integration/test_js_crowd.py -s $(ARGS)

conformance: $(DONE)/build $(DONE)/test ## all 517 cases of Autobahn|Testsuite: about ten minutes (VARIANT=plain, tls, workers or passed)
	@$(PYTEST) -m full tests/conformance -s -k "$(VARIANT)" $(ARGS)

soak: $(DONE)/build $(DONE)/test ## churn for SECONDS (3600), then everything must be as before (ARGS='--workers 2')
	@$(BIN)/python -m tests.soak $(SECONDS) $(ARGS)

fuzz: $(DONE)/build $(DONE)/fuzz ## fuzz with atheris for FUZZ_SECONDS (60) in all
	@$(BIN)/python scripts/fuzz.py $(FUZZ_SECONDS)

js: $(DONE)/build $(DONE)/test ## build the JavaScript client, clients/js/dist, from its sources
	@$(BIN)/python scripts/generate_js_codes.py
	@npm --prefix clients/js run --silent build

proto: $(DONE)/proto ## generate the Protobuf module from gateway/message/ringgate.proto
	@$(BIN)/python scripts/generate_proto.py

asyncapi: $(DONE)/build $(DONE)/test $(DONE)/asyncapi ## generate docs/asyncapi.yaml from the records, and ask the official parser about it
	@$(BIN)/python -m scripts.generate_asyncapi
	@node scripts/asyncapi/validate.mjs docs/asyncapi.yaml

sanitize: $(DONE)/build $(DONE)/test ## the tests of the C-like parts under AddressSanitizer and UBSan
	@scripts/sanitize $(BIN)/python $(ARGS)

wheels: $(DONE)/build $(DONE)/test ## sdist and a wheel for each Python found (PYTHONS='python3.12 ...'), tried out
	@$(BIN)/python scripts/build_wheels.py

hooks: $(DONE)/lint ## check what is committed with pre-commit
	@$(BIN)/pre-commit install

clean: ## remove what was built, and .venv
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks tests/clients/node_modules clients/js/node_modules scripts/asyncapi/node_modules bench/cluster/rivals/node_modules
	find gateway -name '*.so' -delete

# --- what the targets stand on -------------------------------------------------------------------

$(DONE)/venv: scripts/bootstrap
	@scripts/bootstrap $(VENV)
	@mkdir -p $(DONE) && touch $@

$(DONE)/install: pyproject.toml $(DONE)/venv
	@echo "==> installing what the gateway runs on"
	@$(PIP) --group build
	@RINGGATE_PREBUILT=1 $(PIP) --no-build-isolation --editable .
	@touch $@

$(DONE)/build: $(SOURCES) setup.py $(DONE)/install
	@echo "==> compiling the extensions"
	@$(BIN)/python setup.py -q build_ext --inplace
	@touch $@

$(DONE)/test: pyproject.toml scripts/test-tools tests/clients/package-lock.json clients/js/package-lock.json $(DONE)/install
	@echo "==> installing what the tests need"
	@$(PIP) --group test
	@scripts/test-tools
	@touch $@

$(DONE)/asyncapi: scripts/asyncapi/package-lock.json $(DONE)/test
	@echo "==> installing the parser of AsyncAPI"
	@npm ci --prefix scripts/asyncapi --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(DONE)/bench $(DONE)/lint $(DONE)/fuzz $(DONE)/proto: $(DONE)/%: pyproject.toml $(DONE)/install
	@echo "==> installing the tools of: make $*"
	@$(PIP) --group $*
	@touch $@
