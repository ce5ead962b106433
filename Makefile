# `make demo` and `make test` set up everything they need in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?=
OUT ?= demo-run
ARGS ?=
JOBS ?= 2
# Tiny networks run no faster on several threads; each of the JOBS processes keeps to one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.PHONY: demo test test-all check bench install clean

demo: install            ## pre-train, score, describe and load back a small MSCN; DATA=<hub id or folder> for other images
	$(BIN)/mscn-hf demo --out $(OUT) $(if $(DATA),--data $(DATA)) $(ARGS)

test: install            ## the default tests
	$(PYTEST) $(ARGS)

test-all: install        ## with the slow ones
	$(PYTEST) -m "" $(ARGS)

check: install           ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install           ## every benchmark, printed; each script has options of its own
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or later is needed, {sys.executable} is {sys.version.split()[0]}; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) .pytest_cache .mypy_cache .ruff_cache
