# The newcomer's two commands are `make demo` and `make test`. Everything else is for developers.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
COMPILE := $(BIN)/python -m compileall -q -q -j 0 $(VENV)/lib || true # on all cores, which pip does not
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --no-compile --no-deps

.PHONY: demo demo-emulated test test-long chaos soak serve check lock live bench clean

demo: $(VENV)/runtime ## set up, make pictures with the built-in renderer, show where they are
	$(BIN)/python -m genyard.demo out/demo

demo-emulated: $(VENV)/dev ## emulators of every kind of place, and one job of each kind to each of them
	$(BIN)/python -m genyard.demo --emulated out/demo-emulated

soak: $(VENV)/dev ## 10,000 jobs while everything goes wrong, then an audit; writes docs/explanation/soak.md (SOAK="--jobs 300" for less)
	PYTHONPATH=tests $(BIN)/python -m soak --report docs/explanation/soak.md $(SOAK)

serve: $(VENV)/runtime ## the API and its page on http://127.0.0.1:8000
	$(BIN)/genyard serve

test: $(VENV)/dev ## every test, offline
	$(BIN)/python -m pytest -n 6 --dist loadfile

test-long: $(VENV)/dev ## the long matrices and demonstrations that `make test` has no time for
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long

chaos: $(VENV)/dev ## kills, freezes and cuts off workers at every step of an attempt, at every kind of place; tells what came of it
	PYTHONPATH=tests $(BIN)/python -m chaos.matrix --page docs/reference/crashes.md

check: $(VENV)/dev ## types and lint
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy

live: $(VENV)/dev ## against real servers and workers: GENYARD_LIVE_COMFYUI=http://127.0.0.1:8188[,…], GENYARD_LIVE_RUNPOD_…
	$(BIN)/python -m pytest -m live tests/live

bench: $(VENV)/dev ## our share of a job's time, of a place's call budget, of memory; side by side with the bare wire
	$(BIN)/python bench/overhead.py
	$(BIN)/python bench/engines.py
	$(BIN)/python bench/polling.py
	$(BIN)/python bench/fetching.py
	$(BIN)/python bench/turns.py
	$(BIN)/python bench/capacity.py

lock: $(VENV)/dev ## renew both hashed requirements files (needs uv)
	uv pip compile -q --upgrade --generate-hashes --no-annotate --no-header pyproject.toml --group build -o requirements.lock
	uv pip compile -q --generate-hashes --no-annotate --no-header -c requirements.lock pyproject.toml --group dev -o requirements-dev.lock

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: $(VENV)/bin/python requirements.lock pyproject.toml
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-build-isolation -e .
	$(COMPILE)
	touch $@

$(VENV)/dev: $(VENV)/runtime requirements-dev.lock
	$(PIP) --require-hashes -r requirements-dev.lock
	$(COMPILE)
	touch $@

clean:
	rm -rf $(VENV) out
