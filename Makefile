# `make` alone lists the targets.  Each one sets up .venv first if need be.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
BENCH := .venv-bench/bin

CLASS ?= class
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal
GRADING := PYTHONPATH=assignments $(BIN)/python -m grading

NEEDS_PYTHON = $(or $(PYTHON),$(error Python 3.11 or newer is needed; install it, then make PYTHON=python3.11)) -c "import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and 'Python 3.11 or newer is needed; this is %d.%d. Try: make PYTHON=python3.11' % v)"

# .venv is made anew if its Python is gone, is no longer the version that made it, or is not the
# one that was asked for with PYTHON=
minor = $(shell $(1) -c "import sys; print('%d.%d' % sys.version_info[:2])" 2>/dev/null)
MADE_BY := $(shell sed -nE 's/^version(_info)? = ([0-9]+\.[0-9]+).*/\2/p' .venv/pyvenv.cfg 2>/dev/null | head -n 1)
ASKED := $(if $(filter file,$(origin PYTHON)),$(MADE_BY),$(call minor,$(PYTHON)))
ifneq ($(MADE_BY) $(MADE_BY),$(ASKED) $(call minor,$(BIN)/python))
.PHONY: .venv/ready
STALE := yes
endif

.PHONY: help book book-student check test test-library test-grading test-chapters test-book lab \
  notebooks weights bench release grade lint format linkcheck clean
.NOTPARALLEL:  # tests share both cores already

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: .venv/ready  ## build _build/html/index.html, or OUT/_build/... with OUT=folder
	$(BIN)/python tools/build_book.py $(if $(OUT),--output "$(OUT)")

book-student: .venv/ready  ## the same book without solutions, in dist/book-student
	PYTHONPATH=assignments $(BIN)/python tools/build_student_book.py

check: lint  ## the quick part of `make test`, about two minutes
	$(PYTEST) tests --ignore=tests/book --ignore=tests/grading -m "not slow"

test: lint test-library test-grading test-chapters test-book  ## run every check

test-library: .venv/ready  ## test the library and the tools
	$(PYTEST) tests --ignore=tests/book --ignore=tests/grading

test-grading: .venv/ready  ## release and grade a class, hostile submissions included
	$(PYTEST) tests/grading --dist=loadfile

test-chapters: .venv/ready  ## run the notebooks again (CHAPTERS="some of them")
	$(BIN)/python tools/run_chapters.py $(CHAPTERS)

test-book: book  ## build the book and try its pages in a browser
	$(PYTEST) tests/book

# without the buttons of nbgrader, which are the teacher's
lab: .venv/ready  ## open the chapters in JupyterLab
	JUPYTER_CONFIG_PATH="$(CURDIR)/tools/lab$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" $(BIN)/jupyter lab notebooks

notebooks: .venv/ready  ## execute chapters/*.md into their pairs, and write notebooks/
	$(BIN)/python tools/make_notebooks.py
	$(BIN)/python tools/make_runnable.py

weights: .venv/ready  ## train the weights that ship with the course
	$(BIN)/python tools/make_weights.py

bench: .venv-bench/ready  ## race the engines against other simulators (on an idle machine)
	$(BENCH)/python -m pytest benchmarks
	$(BENCH)/python benchmarks/parity.py $(OPTIONS)
	$(BENCH)/python benchmarks/nir_peers.py $(OPTIONS)
	$(BENCH)/python benchmarks/race.py $(OPTIONS)
	$(BENCH)/python benchmarks/event_engine.py
	$(BENCH)/python benchmarks/clock_engine.py

release: book  ## write dist/students, what a class gets; refuse if a solution leaks
	$(GRADING) release dist/students --public _build/html

grade: .venv/ready  ## grade what is new in CLASS=folder (A="names of assignments")
	$(GRADING) grade "$(CLASS)" $(A) $(OPTIONS)

lint: .venv/ready  ## check style, and that no wing imports from one above it
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache

format: .venv/ready  ## fix style
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

linkcheck: .venv/ready  ## follow the outside links of the book (needs a network)
	$(BIN)/jupyter-book build . --builder linkcheck

clean:  ## remove what was built, but not .venv
	rm -rf _build dist .pytest_cache .ruff_cache .hypothesis

.venv/ready: requirements.txt constraints.txt pyproject.toml
	$(NEEDS_PYTHON)
	$(if $(STALE),rm -rf .venv)
	[ -d .venv ] || rm -f .venv  # a link that leads nowhere
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# the other simulators, which would pull other builds of torch: without what they ask for
.venv-bench/ready: benchmarks/requirements.txt benchmarks/peers.txt constraints.txt pyproject.toml
	$(NEEDS_PYTHON)
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BENCH)/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers.txt
	$(BENCH)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
