# What a newcomer and CI type. `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 4  # on two cores, which three leave idle a fifth of the time: tests wait for browsers and processes
RUNS ?= 10
COVERAGE := 88  # per cent of the branches and lines of the tracker that the tests run
export SONJIT_TEST_DATA ?= ../shared
# Tests start many processes, and each would compile the sources again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install models more-models browser graphics web demo serve room test test-all test-changed durations coverage test-core test-fast repeat torture check check-page \
  bench cards generated docs learn test-lowest lock audit changelog release clean

help:
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

# $(1) tests for a program, $(2) are Debian's packages with it, $(3) is what is left out without them.
define system
@{ $(1); } >/dev/null 2>&1 || { test "$$(id -u)" = 0 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends $(2); } >/dev/null 2>&1 || echo "left out: $(3) (Debian: apt-get install $(2))"
endef

# Users need little. What developers need brings PyTorch.
.venv/base: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Sonjit needs Python 3.11 or newer: make PYTHON=python3.12 ...')"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[serve,tables]'
	touch $@

.venv/installed: .venv/base lab/pyproject.toml studio/pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --editable './lab[synth,tensorboard]' --editable ./studio
	touch $@

install: .venv/installed  ## the tracker, the lab and the studio with what developers need, into .venv

models: .venv/base
	$(BIN)/sonjit models pull hands

more-models: models
	@for group in face body holistic segmentation rigs classifiers; do \
	  $(BIN)/sonjit models pull $$group || echo "left out: what needs every network of $$group"; done

browser:
	$(call system,command -v chromedriver && { command -v chromium || command -v google-chrome; },chromium chromium-driver fonts-noto-cjk,tests in Chromium)
	$(call system,command -v firefox-esr || command -v firefox,firefox-esr,tests in Firefox)
	$(call system,/sbin/ldconfig -p | grep -q libavcodec,libavcodec-extra,tests of videos in Firefox)
	$(call system,command -v Xvfb,xvfb,tests of 3D graphics in Firefox)

graphics: install
	$(call system,$(BIN)/python -c "from sonjit_lab.synthesis.renderer import renderer_name; renderer_name()",libegl1 libgl1-mesa-dri,rendered hands)

MODULE := src/sonjit/_util/assets/web
web: models  ## the module that finds hands, faces and bodies in web pages, into web/dist
	@if command -v npm >/dev/null; then \
	  { test web/node_modules/.package-lock.json -nt web/package-lock.json || npm --prefix web ci --silent --no-audit --no-fund; } \
	    && npm --prefix web run --silent build -- "$$($(BIN)/python -c 'from sonjit.weights import find_weight; print(find_weight("hand-full").parent)')" \
	    && rm -rf $(MODULE) && mkdir $(MODULE) && cp -r web/dist/wasm web/dist/*.js $(MODULE); \
	else echo "left out: the module for web pages (Debian: apt-get install npm)"; fi

demo: models  ## install, fetch the weights, run on the bundled clip
	$(BIN)/sonjit demo

serve: more-models  ## install, fetch the weights, open the live app in the browser
	$(BIN)/sonjit serve --open

# Temporary files of all tests, and the memory of one worker.
DISK_GB := 8
MEMORY_GB := 3
room:
	@$(PYTHON) tools/room.py --disk-gb $(DISK_GB) --memory-gb $(MEMORY_GB) --workers $(WORKERS)

# Complete files go to a worker, because tests of a file share fixtures; tests/support/levels.py orders them.
# A worker that crashes is not replaced: with --dist loadfile, the run would wait for its replacement without end.
PYTEST := -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart=0
test: room install more-models browser graphics web  ## install, fetch weights and browsers, test each promise once; WORKERS=4
	$(BIN)/python $(PYTEST) -m "not nightly" $(OPTIONS)

test-all: room install more-models browser graphics web  ## after `make test`: all other tests, and more examples of Hypothesis
	$(BIN)/python $(PYTEST) -m "nightly or hypothesis" --hypothesis-profile=long $(OPTIONS)

BASE ?= main
test-changed: install models  ## the tests of `make test` that the changes since a commit can reach; BASE=main
	@tests=$$($(BIN)/python tools/changed.py --base $(BASE)) && { test -z "$$tests" || \
	  $(BIN)/python $(PYTEST) -m "not nightly" $$tests; }

durations: OPTIONS := --store-durations
durations: test test-all  ## all tests, and store their processor time in .test_durations

coverage: room install more-models browser graphics web  ## every test of both levels, and the share of the tracker that they run
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST); status=$$?; \
	  find . -maxdepth 1 -name ".coverage.*" -empty -delete; $(BIN)/coverage combine --quiet; exit $$status
	$(BIN)/coverage report --skip-covered --omit "*/sonjit_lab/*,*/sonjit_studio/*" --fail-under $(COVERAGE)

# The tracker must not need PyTorch, so its tests run in an environment without it. The lab's sources make poses for some.
CORE := .venv/core
.venv/core/installed: .venv/installed pyproject.toml
	$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python $(CORE)
	$(BIN)/python -m uv pip install --quiet --python $(CORE) --editable '.[tracker-tests]'
	touch $@

test-core: room more-models .venv/core/installed  ## the tests of the tracker, in an environment without PyTorch
	PYTHONPATH=lab/src $(CORE)/bin/python $(PYTEST) -m "not nightly" --ignore tests/browser --ignore tests/docs --ignore tests/examples \
	  --ignore tests/benchmarks --ignore tests/test_release.py tests

test-fast: install models  ## the short tests: no browser, no training, no reference data
	$(BIN)/python $(PYTEST) -m "not slow and not golden and not nightly and not browser" tests

repeat: room install more-models browser graphics web  ## every test of both levels in random order; RUNS=10
	for seed in $$(seq $(RUNS)); do $(BIN)/python $(PYTEST) -p randomly -p no:cacheprovider --randomly-seed=$$seed || exit 1; done

MINUTES ?= 28
SEED ?= 1
torture: install models  ## damaged files, killed runs, full disks, long streams; MINUTES=28 SEED=1 SAVE=file
	$(BIN)/sonjit models pull face body rigs
	$(BIN)/python tools/torture --minutes $(MINUTES) --seed $(SEED) $(if $(SAVE),--save $(SAVE))

check: install  ## format, lint, types, import rules, sizes, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/options.py --check
	$(BIN)/python tools/web_data.py --check
	$(BIN)/python tools/lock.py --check
	$(BIN)/python tools/structure.py --check
	$(MAKE) --no-print-directory check-page

check-page:
	@if command -v npm >/dev/null; then \
	  { test web/node_modules/.package-lock.json -nt web/package-lock.json || npm --prefix web ci --silent --no-audit --no-fund; } \
	    && npm --prefix web run --silent check; \
	else echo "left out: the checks of the page (Debian: apt-get install npm)"; fi

# FACE_MEDIA and BODY_MEDIA, a video or picture each, add faces, and bodies and holistic.
bench: install models  ## time and memory on this machine; PEER=python-with-mediapipe compares
	$(if $(FACE_MEDIA)$(BODY_MEDIA),$(BIN)/sonjit models pull face body)
	$(BIN)/python benchmarks/bench.py --kind all --save $(or $(SAVE),benchmarks/results/bench.json) $(if $(PEER),--peer $(PEER)) \
	  $(if $(FACE_MEDIA),--face-media $(FACE_MEDIA)) $(if $(BODY_MEDIA),--body-media $(BODY_MEDIA))
	$(BIN)/python benchmarks/accuracy.py $(if $(PEER),--peer $(PEER))

cards: more-models graphics  ## evaluate the default models and write docs/cards; PHOTOGRAPHS=folder DATASETS=folder
	$(BIN)/python benchmarks/cards.py $(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS)) $(if $(DATASETS),--datasets $(DATASETS))

generated: install  ## write what is generated: signatures, tables of the docs, data and scripts of the pages
	$(BIN)/python tools/options.py
	$(BIN)/python tools/web_data.py
	npm --prefix web run --silent page

docs: install  ## write the tables of the docs and build the site into site/
	$(BIN)/python tools/options.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

learn: install models  ## run the lessons of docs/learn: print their numbers, and write their plots
	for lesson in descent networks losses deep svm hand_features; do $(BIN)/python docs/learn/$$lesson.py || exit 1; done

LOWEST := .venv/lowest
test-lowest: install models  ## short tests with the lowest versions of the base dependencies
	$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/python -m uv pip install --quiet --python $(LOWEST) --resolution lowest-direct '.[tables]'
	$(BIN)/python -m uv pip install --quiet --python $(LOWEST) pytest hypothesis pillow pip
	$(LOWEST)/bin/python -m pytest -m "not slow and not golden and not nightly and not browser" tests/media tests/geometry \
	  tests/runs tests/results tests/detectors tests/engines/test_tflite.py tests/weights tests/compat \
	  tests/cli/test_main.py tests/cli/test_hands.py tests/cli/test_kinds.py tests/util/test_files.py

lock: install  ## write versions and hashes of all packages, and of those in the Docker image
	$(BIN)/python tools/lock.py

audit: install  ## known vulnerabilities of the image's versions; needs a network
	$(BIN)/pip-audit --progress-spinner off --disable-pip --require-hashes -r packaging/docker/requirements.txt

changelog: install  ## before a release: move the fragments of changelog.d into CHANGELOG.md
	$(BIN)/towncrier build --yes --version "$$($(BIN)/python -c 'import sonjit; print(sonjit.__version__)')"

release: install more-models web  ## audit, build and check sdist, wheel and site, and try the wheel; uploads nothing
	$(BIN)/python tools/release.py

clean:
	rm -rf .venv site dist web/node_modules web/dist $(MODULE) web/build .coverage .coverage.* sonjit-demo .pytest_cache .ruff_cache .hypothesis
