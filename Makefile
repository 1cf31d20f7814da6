# make demo | test | test-slow | test-release | check | format | docs | lock | clean

PYTHON ?= python3
# Without an NVIDIA driver: PyTorch's CPU build, where an index offers one. With one: PyPI's build, which brings CUDA.
# Choose another build by TORCH_INDEX, for example
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130
# or TORCH_INDEX= for PyPI alone.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi 2>/dev/null),,https://download.pytorch.org/whl/cpu)
TORCH ?= torch==2.13.0
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet --constraint constraints.txt
REACHABLE := import urllib.request; urllib.request.urlopen("$(TORCH_INDEX)/torch/", timeout=15)

.PHONY: help demo test test-slow test-release check format docs lock clean

help:
	@echo "make demo       install, search on real text (examples/quickstart.yaml), print the verdict"
	@echo "make test       the fast tests"
	@echo "make test-slow  tests that kill processes, start clusters or browsers"
	@echo "make test-release  what takes long: a study killed 100 times, memory that a neighbour takes, a full disk, a bucket that goes away"
	@echo "make check      what CI runs first: format, lint, types, fast tests"
	@echo "make format     format the source"
	@echo "make docs       write docs/study_file.md anew from the settings' descriptions"
	@echo "make lock       write constraints.txt anew from what is installed"
	@echo "make clean      remove the environment (outputs/ stays)"

# torch goes first and alone: asked for by another package, pip would take a CUDA build. An index that is out of reach is tried
# once, rather than for each package by pip.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv
	@echo "Installing, which takes a few minutes ..."
	@index="$(TORCH_INDEX)"; \
	if [ -n "$$index" ] && ! $(BIN)/python -c '$(REACHABLE)' 2>/dev/null; then \
	  echo "$$index cannot be reached: torch comes from pip's own index."; index=; \
	fi; \
	$(PIP) $${index:+--extra-index-url "$$index"} "$(TORCH)"
	@$(PIP) --editable ".[demo,dev,postgres]"
	@touch $@

demo: .venv/installed
	$(BIN)/promptfront launch examples/quickstart.yaml

test: .venv/installed
	$(BIN)/python -m pytest -n 2

test-slow: .venv/installed
	$(BIN)/python -m pytest -m "slow and not release"

test-release: .venv/installed
	$(BIN)/python -m pytest -m release -s

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed
	$(BIN)/python docs/generate.py

lock: .venv/installed
	$(BIN)/python -m pip --disable-pip-version-check freeze --exclude-editable | sed -E 's/\+(cpu|cu[0-9]+)$$//; /^promptfront/d' > constraints.txt

clean:
	rm -rf .venv
