# Every target works from a fresh clone: make demo, make test. PYTHON=python3.12 picks another interpreter.
.DEFAULT_GOAL := help
.PHONY: help demo demo-stop test lint bench pyz lock clean

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
KEEP ?=
JOBS ?= 2
CORE_REQUIREMENTS := requirements.txt requirements/examples.txt

# CI, and LOCK=1, install the exact versions of requirements/ci.lock; a user gets the newest that fit.
ifneq ($(filter true 1 yes,$(CI) $(LOCK)),)
LOCKED := requirements/ci.lock
endif
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(LOCKED))

# The demo keeps its state in the checkout, so that it touches neither ~/.kagg nor the endpoints you have.
DEMO_HOME := $(CURDIR)/.demo
DEMO_ENV := KAGG_HOME='$(DEMO_HOME)' KAGG_ENDPOINTS='$(DEMO_HOME)/endpoints.json' KAGG_KAGGLE_URL=local
DEMO_CHECK := import json, sys; \
  failed = [job["id"] for job in json.load(open(sys.argv[1]))["jobs"] if job["status"] != "done"]; \
  sys.exit(0 if failed == ["broken"] else f"demo: only the job named broken may fail, but these did: {failed}")

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(PY):
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"kagg needs Python 3.11 or newer, $(PYTHON) is {v[0]}.{v[1]}; try make PYTHON=python3.12" if v < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-installed: $(CORE_REQUIREMENTS) $(LOCKED) | $(PY)
	@echo "installing into $(VENV), about a minute"
	$(INSTALL) -r requirements.txt -r requirements/examples.txt
	@touch $@

$(VENV)/.test-installed: $(CORE_REQUIREMENTS) requirements/test.txt $(LOCKED) | $(PY)
	@echo "installing into $(VENV), one or two minutes"
	$(INSTALL) -r requirements/test.txt
	@touch $@ $(VENV)/.demo-installed

demo: $(VENV)/.demo-installed ## five notebooks through the local Kaggle: pull, run, deploy, call, monitor (KEEP=1 leaves it running)
	@$(MAKE) --no-print-directory demo-stop
	@rm -rf '$(DEMO_HOME)'
	@code=0; $(DEMO_ENV) $(PY) kagg.py --kaggle-url local batch batch_examples/jobs.csv \
	  --dest '$(DEMO_HOME)/results' --report '$(DEMO_HOME)/report.json' || code=$$?; \
	if [ -z '$(KEEP)' ]; then $(MAKE) --no-print-directory demo-stop; fi; \
	if [ $$code -ne 3 ]; then echo "demo: the batch ended with code $$code, expected 3" >&2; exit 1; fi
	@$(PY) -c '$(DEMO_CHECK)' '$(DEMO_HOME)/report.json'
	@echo "demo: exit code 3 (finished, some jobs failed) is right: broken-join fails on purpose."
	@if [ -z '$(KEEP)' ]; then echo "demo: endpoint and local Kaggle are stopped again. To try the lines above: make demo KEEP=1"; echo "demo: and then: . $(VENV)/bin/activate; export $(DEMO_ENV)"; \
	else echo "demo: the endpoint runs until make demo-stop; to try the lines above: . $(VENV)/bin/activate; export $(DEMO_ENV)"; fi

demo-stop: ## stop what make demo KEEP=1 left running; its files stay in .demo/ until the next demo
	@if [ -f '$(DEMO_HOME)/endpoints.json' ] && [ -x $(PY) ]; then $(DEMO_ENV) $(PY) kagg.py -q endpoints remove tumour >/dev/null 2>&1 || true; fi
	@if [ -d '$(DEMO_HOME)' ] && [ -x $(PY) ]; then $(DEMO_ENV) $(PY) kagg.py -q local-kaggle --stop >/dev/null; fi

lint: $(VENV)/.test-installed ## ruff, mypy and vulture
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/vulture

test: lint ## lint, types and every test, JOBS files of tests at a time
	$(PY) -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

bench: $(VENV)/.test-installed ## the budgets: each number beside a named peer in the same run
	$(PY) bench/startup.py
	$(PY) bench/pull.py
	$(PY) bench/serve.py
	$(PY) bench/preprocess.py
	$(PY) bench/kaggle_push.py
	$(PY) bench/kaggle_log.py
	$(PY) bench/kaggle_fetch.py

pyz: | $(PY) ## kagg.pyz: one file with kagg.py and every room inside
	$(PY) tools/pyz.py kagg.pyz

lock: $(VENV)/.test-installed ## write requirements/ci.lock from what is installed in .venv
	@{ echo "# Made by make lock: what CI installs. Constraints only; what is needed is said in requirements/*.txt."; \
	$(PY) -m pip freeze --exclude pip --exclude setuptools --exclude wheel; } > requirements/ci.lock.new
	@mv requirements/ci.lock.new requirements/ci.lock

clean: demo-stop ## remove .venv, caches and what was built
	rm -rf $(VENV) '$(DEMO_HOME)' build dist kagg.pyz *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
