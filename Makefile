# Quantization Lab: every target sets up .venv by itself, once.
#   make report            regenerate the PTQ vs QAT report
#   make report PROFILE=full

PROFILE ?= default
SITE    ?= site
PYTHON  ?=
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := PIP_ROOT_USER_ACTION=ignore $(BIN)/python -m pip --disable-pip-version-check
SHELL   := /bin/bash

# Packages are installed without bytecode: what imports them first writes it. Where that is forbidden,
# each process compiles torch and all others anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help report test everything runtimes detection lab app site bench bench-browser timings fuzz lint clean
.DELETE_ON_ERROR:

help: ## show the targets
	@echo "Quantization Lab. Usage: make TARGET [PROFILE=smoke|default|full] [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "A CPU build of torch is enough. If your package index serves CUDA builds only, point pip at"
	@echo "CPU wheels first (PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL)."

report: $(VENV)/.base ## run the notebooks, regenerate reports/ (about 6 minutes on 2 fast cores)
	@$(BIN)/qutils report$(if $(filter-out default,$(PROFILE)), -p profile $(PROFILE))

bench: $(VENV)/.base ## measure latency, size and memory ratios (full profile, 2 minutes)
	@$(BIN)/qutils bench --profile $(if $(filter file,$(origin PROFILE)),full,$(PROFILE))

bench-browser: $(VENV)/.dev ## measure the time from key press to picture (needs Chromium)
	@$(BIN)/qutils drag

timings: $(VENV)/.dev ## time make report, make report again, site and test (a quarter of an hour)
	@$(BIN)/qutils timings

# The core: slow tests, notebooks and browsers are left to .ci/run (or QUTILS_CORE=0), as the summary says.
test: $(VENV)/.dev ## run the core tests and the examples in docstrings (6 minutes on 2 fast cores)
	@QUTILS_CORE=$${QUTILS_CORE-1} $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

runtimes: $(VENV)/.runtimes ## install every other runtime and tool that can be used (3 GB)

detection: $(VENV)/.detection ## install Ultralytics (AGPL-3.0) and what its exporter needs, for notebook 12

everything: $(VENV)/.everything ## install all optional packages and the test tools, as CI does

lab: $(VENV)/.lab ## read the notebooks in JupyterLab and drag, on this machine only
	@$(BIN)/qutils lab

app: $(VENV)/.lab ## the lab's explorer as a page (Voila), on this machine only
	@$(BIN)/qutils app

site: $(VENV)/.base ## the tutorial as pages whose sliders need no server, in site/ (5 to 10 minutes)
	@$(BIN)/qutils site $(SITE)$(if $(filter-out default,$(PROFILE)), -p profile $(PROFILE))

SECONDS_OF_FUZZ ?= 600
SEED ?= 0

fuzz: $(VENV)/.runtimes ## feed damaged files to every reader (10 minutes; SECONDS_OF_FUZZ=, SEED=)
	@$(BIN)/python -m tools.fuzz --seconds $(SECONDS_OF_FUZZ) --seed $(SEED)

lint: $(VENV)/.dev ## style, types, import directions, notebooks without outputs
	@failed=0; \
	$(BIN)/ruff check . || failed=1; \
	$(BIN)/ruff format --check . || failed=1; \
	$(BIN)/mypy || failed=1; \
	$(BIN)/lint-imports || failed=1; \
	find notebooks -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' -print0 2>/dev/null | xargs -0 -r \
	  $(BIN)/nbstripout --verify --keep-id --extra-keys "metadata.papermill cell.metadata.papermill" || failed=1; \
	exit $$failed

clean: ## remove .venv and caches; data/ and reports/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find qutils tests notebooks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# --- setting up: a stamp file for each set of requirements, older than pyproject.toml = stale ---

$(BIN)/python:
	@good='import sys; sys.exit(sys.version_info < (3, 11))'; \
	for python in $(if $(PYTHON),$(PYTHON),python3 python3.12 python3.11 python3.13); do \
	  if command -v "$$python" >/dev/null && "$$python" -c "$$good" 2>/dev/null; then \
	    echo "Creating $(VENV) with $$python ($$($$python --version))"; \
	    "$$python" -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "error: $$python could not create $(VENV). On Debian or Ubuntu: apt install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo "error: no Python 3.11 or newer (found: $$(python3 --version 2>&1 || true))." >&2; \
	echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1

comma := ,

# $(call install,requirements,what,options of pip): of pip's output show large downloads, the unpacking and errors;
# its progress goes to awk (3), its errors to sed, which drops warnings about the index. Python
# compiles what is imported; compiling all that is installed takes a minute or more.
define install
	@echo "Installing $(2): 2 to 5 minutes the first time"
	@set -o pipefail; SECONDS=0; \
	{ $(PIP) install --no-compile --progress-bar off $(3) --editable "$(1)" 2>&1 >&3 | sed '/^WARNING: /d' >&2; } 3>&1 \
	| awk '/^ *(Downloading|Processing) .*torch-/ {print "  torch, the largest"; fflush()} \
	       /^ *Downloading .*[0-9][0-9](\.[0-9])? MB/ {print "  downloading " $$2, $$3, $$4; fflush()} \
	       /^Installing collected/ {print "  unpacking " NF - 3 " packages, a minute or two"; fflush()}' \
	&& echo "Done in $$SECONDS s"
	@touch $@
endef

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(call install,.[report],the lab)

$(VENV)/.lab: $(VENV)/.base
	$(call install,.[report$(comma)lab],JupyterLab)

$(VENV)/.dev: $(VENV)/.base
	$(call install,.[report$(comma)dev],the test tools)

runtimes_extras := openvino$(comma)litert$(comma)executorch$(comma)imagenet$(comma)peers

$(VENV)/.runtimes: $(VENV)/.base
	$(call install,.[$(runtimes_extras)],the other runtimes)

# With the other runtimes in one command: its packages want older versions of some that those share.
$(VENV)/.detection: $(VENV)/.base
	@echo "Ultralytics is licensed under AGPL-3.0 (https://www.gnu.org/licenses/agpl-3.0): networks trained"
	@echo "and files exported with it come under that license, says its publisher. Nothing else here does."
	$(call install,.[$(runtimes_extras)$(comma)detection],Ultralytics and the other runtimes)

# One pip command instead of four; the stamps are those of the parts, each younger than its needs.
$(VENV)/.everything: pyproject.toml .ci/constraints.txt | $(BIN)/python
	@echo "Among them Ultralytics, which is licensed under AGPL-3.0 (see make detection)"
	$(call install,.[report$(comma)dev$(comma)$(runtimes_extras)$(comma)detection$(comma)coverage],everything,--constraint .ci/constraints.txt)
	@touch $(VENV)/.base && touch $(VENV)/.dev $(VENV)/.runtimes $(VENV)/.detection $(VENV)/.lab $@
