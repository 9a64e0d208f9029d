# `make demo` and `make test` set everything up by themselves; the environment is made once and reused.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One BLAS thread: the small matrices of a surrogate gain nothing from more, and runs stay comparable.
export OMP_NUM_THREADS ?= 1
# Two files of tests at a time; what a file sets up is made once, by the process that has it.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile

.PHONY: demo test test-all lint bench torture docs docs-figures examples studies paper gallery notebooks clean setup dev
# What users need: about 1.7 GB and two minutes, most of it for torch, Ray and MLflow.
setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing mlasdi into $(VENV): about 1.7 GB, two minutes on a fast connection ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

# What developers need on top: tests, linters, the type checker.
dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the development tools into $(VENV): another minute ..."
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/mlasdi run configs/burgers1d.yaml

test: dev
	$(BIN)/pytest $(SIDE_BY_SIDE)

test-all: dev
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not bench"

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python tests/benchmarks/unseen.py
	$(BIN)/python tests/benchmarks/trust.py
	$(BIN)/python tests/benchmarks/trust_page.py
	$(BIN)/python tests/benchmarks/many_points.py
	$(BIN)/pytest -m bench tests/benchmarks -s

# Kills, damaged files, wrong configurations and tampered models, in at most 20 minutes; writes RELIABILITY.md.
torture: dev
	$(BIN)/python tests/benchmarks/torture.py

# The examples with solvers of others, where these are installed; writes tests/benchmarks/EXAMPLES.md. OpenFOAM, and a
# Fortran compiler with MPI, come from the system: `apt install openfoam gfortran libopenmpi-dev openmpi-bin`.
examples: dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,examples]'
	$(BIN)/python tests/benchmarks/examples_study.py

# The documentation as a site in `site/`, which opens from disk.
docs: dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	$(BIN)/mkdocs build --strict

# Figures and numbers of docs/explanation/method.md; takes a few minutes.
docs-figures: dev
	$(BIN)/python docs/method_page.py

# The open questions of the method, one page each in docs/studies; up to 20 minutes a study. `make studies full=--full`
# takes the full settings.
studies: dev
	for study in $(filter-out docs/studies/study_%.py docs/studies/trajectory_fit.py,$(wildcard docs/studies/*.py)); do \
		$(BIN)/python $$study $(full) || exit 1; done

# The experiments of arXiv 2506.09207 in half an hour; `make paper full=--full` trains networks of full states too, in hours.
paper: dev
	$(BIN)/python docs/reproduction_page.py $(full)

# The figures of the built-in problems; the wake, where NGSolve is installed, takes two minutes.
gallery: dev
	$(BIN)/python docs/gallery.py

# The notebooks with their outputs; a few minutes.
notebooks: dev
	$(BIN)/python docs/notebook_pages.py

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
