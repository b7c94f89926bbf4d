# Everything a newcomer and CI type. `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
export SONJIT_TEST_DATA ?= ../shared

.PHONY: help install models more-models browser graphics web demo serve test coverage test-core test-fast check check-page bench cards docs learn release lock audit test-lowest torture repeat clean

help:
	@echo "make demo    install, fetch the weights, run on the bundled clip, say where the results are"
	@echo "make serve   install, fetch the weights, open the live app in the browser"
	@echo "make test    install, fetch the weights and a browser, run every test; WORKERS=2"
	@echo "make coverage   the same tests, and which lines of the package they run"
	@echo "make test-core  the tests of the tracker: no lab, no studio, no documentation, no browser"
	@echo "make test-fast  the short tests: no browser, no training, no reference data"
	@echo "make web     build the module that finds hands, faces and bodies inside web pages into web/dist"
	@echo "make test-lowest  short tests with the lowest versions of the base dependencies"
	@echo "make check   format, lint, types, import rules, of the page too; coverage of the last make coverage"
	@echo "make docs    make the tables of the documentation again and build its site into site/"
	@echo "make learn   run the lessons of docs/learn again and put their numbers into the pages"
	@echo "make cards   evaluate the default models and write docs/cards again; PHOTOGRAPHS=folder DATASETS=folder"
	@echo "make lock    write the versions and hashes that the Docker image installs into requirements-docker.txt"
	@echo "make audit   known vulnerabilities of the versions in requirements-docker.txt, where there is a network"
	@echo "make release audit, build and check sdist, wheel and site, and try the wheel; uploads nothing"
	@echo "make repeat  every test ten times in random order, also on a busy machine; RUNS=10"
	@echo "make torture damaged files, killed and stopped runs, for ten minutes; MINUTES=60 SEED=7"
	@echo "make bench   time and memory on this machine; PEER=python-with-mediapipe compares"

# What users need: small. What developers need brings PyTorch.
.venv/base: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Sonjit needs Python 3.11 or newer: make PYTHON=python3.12 ...')"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[serve,tables]'
	touch $@

.venv/installed: .venv/base
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

install: .venv/installed

models: .venv/base
	$(BIN)/sonjit models pull hands

# What the tests and the page want besides; npm brings some of it.
more-models: models
	@for group in face body holistic segmentation rigs; do \
	  $(BIN)/sonjit models pull $$group || echo "left out: what needs every network of $$group"; done

# The page is tested in Debian's Chromium and Firefox; elsewhere the tests take those that they find.
browser:
	@command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-noto-cjk >/dev/null; } \
	  || echo "left out: the tests in a browser; they need chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
	@command -v firefox-esr >/dev/null || command -v firefox >/dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends firefox-esr >/dev/null 2>&1; } \
	  || echo "left out: the tests in Firefox; they need it (Debian: apt-get install firefox-esr)"

# The module for web pages, into web/dist: npm brings LiteRT and what builds it, the networks come from the cache.
web: models
	@if command -v npm >/dev/null; then \
	  { test web/node_modules/.package-lock.json -nt web/package-lock.json || npm --prefix web ci --silent --no-audit --no-fund; } \
	    && npm --prefix web run --silent build -- "$$($(BIN)/python -c 'from sonjit.weights import find_weight; print(find_weight("hand-full").parent)')"; \
	else echo "left out: the module for web pages; it needs npm (Debian: apt-get install npm)"; fi

# Rendered hands need OpenGL without a screen; Mesa's software renderer will do.
graphics: install
	@$(BIN)/python -c "from sonjit.lab.synthesis.render.opengl import renderer_name; renderer_name()" 2>/dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libegl1 libgl1-mesa-dri >/dev/null; } \
	  || echo "left out: rendered hands; they need EGL (Debian: apt-get install libegl1 libgl1-mesa-dri)"

demo: models
	$(BIN)/sonjit demo

serve: more-models
	$(BIN)/sonjit serve --open

# Whole files go to a worker: what several tests of a file share is made once.
CORE_TESTS := --ignore tests/lab --ignore tests/studio --ignore tests/docs --ignore tests/examples --ignore tests/test_release.py tests
PYTEST := -m pytest -n $(WORKERS) --dist loadfile --durations=15
test: install more-models browser graphics web
	$(BIN)/python $(PYTEST)

# A target of its own, because the tracer of Python 3.11 slows every process down.
coverage: install more-models browser graphics web
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST); status=$$?; \
	  find . -maxdepth 1 -name ".coverage.*" -empty -delete; $(BIN)/coverage combine --quiet; exit $$status

# The tracker's tests: neither the lab, the studio, the documentation nor a browser.
test-core: install more-models
	$(BIN)/python $(PYTEST) -m "not network and not browser" $(CORE_TESTS)

test-fast: install models
	$(BIN)/python $(PYTEST) -m "not slow and not golden and not network and not browser" tests

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/options.py --check
	$(BIN)/python tools/reference.py --check
	$(BIN)/python tools/web_data.py --check
	$(BIN)/python tools/structure.py --check
	$(BIN)/python tools/prose.py --check
	$(MAKE) --no-print-directory check-page
	$(BIN)/python tests/check_coverage.py

# The page's modules and web/: types, lint, import rules. npm brings what checks them, by a lock file.
check-page:
	@if command -v npm >/dev/null; then \
	  for folder in tools/page web; do \
	    { test $$folder/node_modules/.package-lock.json -nt $$folder/package-lock.json || npm --prefix $$folder ci --silent --no-audit --no-fund; } \
	      && npm --prefix $$folder run --silent check || exit 1; \
	  done; \
	else echo "left out: the checks of the page; they need npm (Debian: apt-get install npm)"; fi

# FACE_MEDIA and BODY_MEDIA, a video or picture each, add faces, and bodies and holistic.
bench: RESULT = $(or $(SAVE),benchmarks/results/bench.json)
bench: install models
	$(if $(FACE_MEDIA)$(BODY_MEDIA),$(BIN)/sonjit models pull face body)
	$(BIN)/sonjit bench --kind all --save $(RESULT) $(if $(PEER),--peer $(PEER)) \
	  $(if $(FACE_MEDIA),--face-media $(FACE_MEDIA)) $(if $(BODY_MEDIA),--body-media $(BODY_MEDIA))
	$(BIN)/python benchmarks/table.py $(RESULT)
	$(BIN)/python benchmarks/accuracy.py $(if $(PEER),--peer $(PEER))
	$(BIN)/python benchmarks/jitter.py
	$(BIN)/python benchmarks/soak.py

# Not in CI: what it tries depends on the time that it is given.
MINUTES ?= 10
SEED ?= 1
torture: install models
	$(BIN)/python tools/torture --minutes $(MINUTES) --seed $(SEED)

# Finds tests that fail now and then: random order, several seeds of Hypothesis, every second run on a busy machine.
RUNS ?= 10
repeat: install more-models browser graphics web
	$(BIN)/python tools/repeat_tests.py --runs $(RUNS) --workers $(WORKERS)

# Of the default models: photographs labelled by eye, samples of public sets, renders.
cards: more-models graphics
	$(BIN)/python benchmarks/cards.py $(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS)) $(if $(DATASETS),--datasets $(DATASETS))

# Tables are made of the program's records and of benchmarks/results; `make check` compares them. Links that lead nowhere
# end the build; its pages need no network.
docs: install
	$(BIN)/python tools/options.py
	$(BIN)/python tools/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

learn: install models
	for lesson in descent networks losses deep svm hand_features; do $(BIN)/python docs/learn/$$lesson.py || exit 1; done
	$(BIN)/python docs/learn/build.py

# The short tests of what the base install holds, with the lowest version of each of its dependencies.
LOWEST := .venv/lowest
test-lowest: install models
	$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/python -m uv pip install --quiet --python $(LOWEST) --resolution lowest-direct '.[tables]'
	$(BIN)/python -m uv pip install --quiet --python $(LOWEST) pytest hypothesis pillow pip
	$(LOWEST)/bin/python -m pytest -m "not slow and not golden and not network and not browser" tests/media tests/geometry \
	  tests/runs tests/results tests/detectors tests/engines/test_tflite.py tests/weights tests/compat \
	  tests/cli/test_main.py tests/cli/test_hands.py tests/cli/test_kinds.py tests/util/test_files.py

# Versions and hashes of all that the Docker image installs.
lock: install
	$(BIN)/python -m uv pip compile --quiet --no-header --upgrade --generate-hashes --python-version 3.12 \
	  --python-platform x86_64-manylinux_2_28 --extra serve --extra tables pyproject.toml -o requirements-docker.txt

# Not in CI: what is known of the locked versions changes without a change here.
audit: install
	$(BIN)/python tools/audit.py

# Everything but the upload: sdist, wheel and site, checked, and the wheel tried in fresh environments outside this folder.
release: install models
	$(BIN)/python tools/release.py

clean:
	rm -rf .venv site dist tools/page/node_modules web/node_modules web/dist .coverage .coverage.* sonjit-demo .pytest_cache .ruff_cache .hypothesis
