# `make run` serves the app on port 8501, `make run PORT=8600` on another; `make test` checks
# everything, `make check` without running it, `make test-fast` without what is slow; `make bench`
# times it; `make docs` writes the API reference into docs/api, `make screenshots` the README's
# pictures. All set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8501
PIP := $(BIN)/python -m pip --disable-pip-version-check install -c constraints.txt
export GSC_HOME ?= .gsc
# Images for containers often forbid compiled modules to be saved; then each of the many processes
# that the tests start compiles all of them again.
unexport PYTHONDONTWRITEBYTECODE
DEMO := $(GSC_HOME)/runs/demo

.PHONY: run check test test-fast bench docs screenshots sbom audit format clean

run: .venv/installed
	@test -e $(DEMO)/metrics.json -a -e $(DEMO)/calibration.safetensors || $(BIN)/gsc demo
	$(BIN)/streamlit run app.py --server.port $(PORT)

check: .venv/tested-with
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python tests/support/browser.py --ensure
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

test-fast: .venv/tested-with
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

# Ratios, each from one run; a machine with a graphics card has `python -m benchmarks.gpu` besides.
bench: .venv/tested-with
	$(BIN)/python -m benchmarks.overhead --rounds 6
	$(BIN)/python -m benchmarks.files
	$(BIN)/python -m benchmarks.fixed_cost

docs: .venv/tested-with
	$(BIN)/python docs/reference.py

screenshots: .venv/tested-with
	$(BIN)/python docs/screenshots.py

# In an environment of their own: what looks at the product is no part of it.
sbom: .venv/tested-with .venv-tools/installed
	.venv-tools/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml \
		--output-reproducible -o docs/sbom.cdx.json

audit: .venv-tools/installed
	.venv-tools/bin/pip-audit --no-deps --disable-pip -r constraints.txt

.venv-tools/installed:
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/pip install --quiet 'cyclonedx-bom>=7.5,<8' 'pip-audit>=2.10,<3'
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt constraints.txt pyproject.toml | .venv/bin/python
	@echo 'Installing what the product needs: a few minutes and about 6 GB on disk.'
	$(PIP) -r requirements.txt
	$(PIP) --quiet --no-deps -e .
	@touch $@

.venv/tested-with: .venv/installed requirements-dev.txt
	$(PIP) --quiet -r requirements-dev.txt
	@touch $@

format: .venv/tested-with
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-tools .gsc docs/api
