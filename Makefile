# Each target does all its own set-up: a virtual environment with the tested versions, then the work.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# For two cores: tests that wait for Ray or another process leave theirs to a third worker.
WORKERS ?= 3
# A file's tests share its Ray.
PYTEST = $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 20
# Where it is set, every process of a test compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick slow lint docs
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	rm -rf demo
	$(BIN)/sltune demo --out demo

test: $(VENV)/installed
	$(BIN)/python -m tests.compile_kernels
	$(PYTEST)

# These wait for nothing.
quick: WORKERS = 2
quick: $(VENV)/installed
	$(PYTEST) -m 'not slow and not processes'

slow: $(VENV)/installed
	$(BIN)/pytest -m slow --durations 20

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A site without a network: site/docs/index.html.
docs: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	$(BIN)/sphinx-build --quiet --conf-dir docs --builder html --fail-on-warning --keep-going . site

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
