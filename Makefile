# Needs Python 3.11 or newer and make; every target sets up the virtual environment it runs in. Set-up is done once, and
# again only when pyproject.toml or constraints.txt changes: the stamp file, written last, says that it is complete.

VENV ?= .venv
EXTRAS := dev,align,api,complete,notebooks,probes,represent,report,rewards
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
TESTS ?= src tests
# One process a core, and one thread in each: small models gain nothing from threads, and threads that wait for each other lose much.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# gpi-pack in an environment of its own: from 0.2 on it imports torchvision, whose published build needs a torch for CUDA.
GPI := build/gpi
GPI_STAMP := $(GPI)/.installed

.PHONY: audit hashes licences newest oldest install-newest install-oldest test-newest test-oldest test-browser test-crash test-fuzz test-ray test-soak
.PHONY: help install install-gpi install-vllm demo test test-fast test-gpi test-mock test-vllm lint format clean

help:
	@echo "make demo       make a dataset of 450 texts with hidden states in data/same_prompt (a few minutes)"
	@echo "make test       ruff, mypy and all tests"
	@echo "make test-fast  the tests without the slow ones; TESTS=tests/cli picks a folder"
	@echo "make test-newest  the fast tests and the demo with the newest libraries (constraints-newest.txt); make newest moves them"
	@echo "make test-oldest  the same at the lower bounds of pyproject.toml (constraints-oldest.txt; make oldest), on Python 3.11"
	@echo "make test-gpi   the vectors of docs/represent.md in gpi-pack itself, installed in build/gpi"
	@echo "make test-vllm  the tests of the engine vllm, in an environment of their own (once: about 2 GB and some minutes)"
	@echo "make test-ray   runs over Ray actors, one of them killed (installs the extra ray)"
	@echo "make test-crash every crash window, 65 kills at random instants, disk faults, 500 flipped bits (installs the extra ray)"
	@echo "make test-fuzz  every parser of outside bytes under atheris, FUZZ_SECONDS each (600; seven targets)"
	@echo "make test-browser  the reports in headless Chromium, which is installed where there is none"
	@echo "make test-soak  kills, faults and resumes for SOAK_SECONDS (1200), memory and open files watched"
	@echo "make audit      advisories against the pinned packages; make licences and make hashes write their lists"
	@echo "make test-mock  a cycle of files and batches against an independent mock server (needs npm)"
	@echo "make lint       ruff and mypy"
	@echo "make format     let ruff rewrite the layout of the code"
	@echo "make clean      remove the virtual environment and all caches (datasets stay)"

install: $(STAMP)

# torch goes first and by itself: no other package's wishes can then move pip from a CPU build to a CUDA one.
# A name such as python3.12 may exist and not run (version managers leave such names), so each is tried.
$(STAMP): pyproject.toml constraints.txt
	@if [ ! -x $(BIN)/python ]; then \
	  for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then echo "make: no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python" >&2; exit 2; fi; \
	  echo "Setting up $(VENV) with $$($$python --version)"; \
	  $$python -m venv $(VENV) || { rm -rf $(VENV); echo "make: $$python cannot make virtual environments; install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }; \
	fi
	@echo "Installing torch (once; the largest download)"
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@echo "Installing latentext and the packages of constraints.txt (once)"
	@$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(STAMP)
	$(BIN)/latentext demo

test: lint
	$(PYTEST) $(TESTS)

test-fast: $(STAMP)
	$(PYTEST) -m "not slow" $(TESTS)

install-gpi: $(GPI_STAMP)

test-gpi: $(STAMP) $(GPI_STAMP)
	LATENTEXT_GPI_PYTHON=$(CURDIR)/$(GPI)/bin/python OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/studies/represent/test_guide.py

$(GPI_STAMP): constraints.txt | $(STAMP)
	@$(BIN)/python -m venv --clear $(GPI)
	@echo "Installing gpi-pack in $(GPI) (once)"
	@$(GPI)/bin/python -m pip install --disable-pip-version-check --quiet --no-compile --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(GPI)/bin/python -m pip install --disable-pip-version-check --quiet --no-compile --constraint constraints.txt gpi-pack==0.1.0 patsy==1.0.3
	@touch $@

# The libraries at both ends of what pyproject.toml admits, an environment each. The versions are frozen in a file, so
# that a release elsewhere fails no unrelated change; `make newest` and `make oldest` resolve afresh and rewrite it.
# TORCH is the newest torch of which a CPU build was had; `make newest TORCH=2.14.1` takes another.
ENDS := newest oldest
TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)
END_PIP := -m pip install --disable-pip-version-check --quiet

$(ENDS:%=build/%-env/.installed): build/%-env/.installed: constraints-%.txt pyproject.toml | $(STAMP)
	@echo "Setting up build/$*-env (once)"
	@$(BIN)/python tools/freeze.py environment build/$*-env $*
	@build/$*-env/bin/python $(END_PIP) --constraint $< "$$(grep '^torch==' $<)"
	@build/$*-env/bin/python $(END_PIP) --constraint $< --editable '.[$(EXTRAS)]'
	@touch $@

$(ENDS:%=install-%): install-%: build/%-env/.installed

$(ENDS): | $(STAMP)
	@echo "Resolving the $@ versions in build/$@-env"
	@$(BIN)/python tools/freeze.py environment build/$@-env $@
	@$(BIN)/python tools/freeze.py $@ build/$@-env/bin/python $(EXTRAS) $(TORCH)
	@touch build/$@-env/.installed

$(ENDS:%=test-%): test-%: build/%-env/.installed
	OMP_NUM_THREADS=1 build/$*-env/bin/python -m pytest --numprocesses auto --dist loadfile -m "not slow" $(TESTS)
	@rm -rf build/$*-demo build/$*-demo_npy
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 build/$*-env/bin/latentext demo build/$*-demo
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 build/$*-env/bin/latentext verify build/$*-demo

# vLLM wants an older transformers and much else, so it has an environment of its own. Without --no-deps pip would bring
# torchvision, torchaudio and torchcodec, whose CPU builds keep vLLM from being imported, and triton, which has no CPU
# backend. --no-deps needs the whole closure by name, and constraints-vllm.txt is that.
VLLM_ENV := build/vllm-env
VLLM_STAMP := $(VLLM_ENV)/.installed
VLLM_PIP := $(VLLM_ENV)/bin/python -m pip install --disable-pip-version-check --quiet

$(VLLM_STAMP): constraints-vllm.txt | $(STAMP)
	@echo "Setting up $(VLLM_ENV) (once: about 2 GB)"
	@mkdir -p build
	@[ -x $(VLLM_ENV)/bin/python ] || $(BIN)/python -m venv $(VLLM_ENV)
	@$(VLLM_PIP) "$$(grep '^torch==' constraints-vllm.txt)"
	@$(VLLM_PIP) --no-deps --requirement constraints-vllm.txt
	@$(VLLM_PIP) --no-deps --no-build-isolation --editable .
	@touch $@

install-vllm: $(VLLM_STAMP)

test-vllm: $(VLLM_STAMP)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_CPU_KVCACHE_SPACE=1 \
	  $(VLLM_ENV)/bin/python -m pytest tests/vllm tests/engines/test_vllm_refusals.py tests/engines/test_wider_heads.py

# The mock is no dependency: it goes into a folder of its own, and without it its tests are skipped.
test-mock: $(STAMP)
	npm install --prefix build/aimock --no-save --no-audit --no-fund @copilotkit/aimock@1.43.0
	$(PYTEST) tests/contract/test_aimock.py

# Ray gives its own processes fixed times to start, which a busy machine overruns: so it is no part of `make test`.
test-ray: $(STAMP)
	$(PIP) --editable '.[$(EXTRAS),ray]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/run/test_ray.py

# LATENTEXT_SEED=N draws other instants; the seed of a run is printed when it fails.
test-crash: $(STAMP)
	$(PIP) --editable '.[$(EXTRAS),ray]'
	LATENTEXT_CRASH_POINTS=all LATENTEXT_FLIPS=500 LATENTEXT_KILLS=20 $(PYTEST) --dist load tests/crash tests/run/test_workers.py
	LATENTEXT_KILLS=5 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/run/test_ray.py

# atheris has no place among the pins: its wheels follow the newest Pythons late, so it has an environment of its own.
FUZZ := build/fuzz
FUZZ_STAMP := $(FUZZ)/.installed

$(FUZZ_STAMP): constraints.txt | $(STAMP)
	@echo "Setting up $(FUZZ) (once)"
	@$(BIN)/python -m venv --clear $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt \
	  'atheris>=3' numpy pyarrow pydantic pyyaml python-dotenv rich tokenizers typer
	@touch $@

test-fuzz: $(FUZZ_STAMP)
	$(FUZZ)/bin/python tools/fuzz.py $(FUZZ_TARGETS)

# Debian's Chromium where there is apt and the right to use it, else the build that playwright brings.
test-browser: $(STAMP)
	@$(PIP) --editable '.[$(EXTRAS),browser]'
	@if ! command -v chromium-headless-shell chromium chromium-browser google-chrome >/dev/null; then \
	  echo "Installing Chromium (once)"; \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium-headless-shell fonts-dejavu-core >/dev/null; } || \
	  $(BIN)/python -m playwright install chromium-headless-shell; \
	fi
	LATENTEXT_BROWSER=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser

test-soak: $(STAMP)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python tools/soak.py

audit licences hashes: $(STAMP)
	$(BIN)/python tools/supply_chain.py $(subst audit,advisories,$@)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
