# Two commands do everything: `make demo` and `make test`. Both make the virtual environment they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Byte-compiling every module of every dependency costs 80 MB and most are never imported.
INSTALL := $(PIP) install --no-compile -q -c constraints.txt

.PHONY: demo test check format systems docs clean

$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(INSTALL) -e ".[train,text,image,dev]"
	@touch $@

demo: $(VENV)/.base  ## A generated shop: build, evaluate, search, recommend, in about a minute.
	$(BIN)/itemspace demo

test: $(VENV)/.dev  ## The tests. Set ITEMSPACE_DATA to a folder of published datasets to run those on real data.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

check: $(VENV)/.dev  ## Formatter, linter, type checker, and the order of the rooms.
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

systems: $(VENV)/.dev  ## Run the gallery's quick checks and write docs/systems.md.
	$(BIN)/itemspace systems run --all --quick

docs: $(VENV)/.dev  ## The documentation as a site in build/site, links checked.
	$(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html"

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
