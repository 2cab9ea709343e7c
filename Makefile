# facewire: everything runs in .venv, made on first use. Needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
VIDEO ?=
DEMO_FLAGS ?=

.PHONY: demo test lint format venv clean

venv: .venv/.made

.venv/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,track,export]'
	touch $@

demo: venv
	$(BIN)/facewire demo $(if $(VIDEO),--video "$(VIDEO)") $(DEMO_FLAGS)

test: venv
	$(BIN)/python -m pytest -q

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
