# Each target sets up .venv by itself; see README.md.
PYTHON ?= python3
VENV := .venv/bin
# Two OpenMP pools that spin on the same cores slow each other tenfold.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test lint format setup docs fuzz

setup:
	@PYTHON=$(PYTHON) bash scripts/setup_env.sh

demo: setup
	@$(VENV)/python -m scripts.demo

test: setup
	@$(VENV)/python -m pytest

lint: setup
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports --no-cache

format: setup
	@$(VENV)/ruff check --fix .
	@$(VENV)/ruff format .

fuzz: setup
	@$(VENV)/python -m scripts.fuzz --seconds 60

docs: setup
	@$(VENV)/python -m scripts.flag_table
	@$(VENV)/python -m scripts.paper_rows
	@$(VENV)/python -m scripts.reliability_page
	@$(VENV)/python -m scripts.performance_page
