# `make demo` dubs a short video on this machine; `make test` is what every change has to pass.
# Needs GNU make and a Python 3.11 or 3.12 that can make virtual environments (Debian: python3-venv).
# Everything is installed into .venv, once: a stamp file there is younger than the lists it was installed from.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -qq -c configs/constraints.txt
LISTS := pyproject.toml configs/constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: demo test lint audit serve proto docs bench-translation bench-recognition bench-endtoend bench-load soak chaos clean help

demo: .venv/.demo ## dub the demo video and say where the result lies
	$(BIN)/dubserve demo

test: lint ## everything that is checked: style, types, imports, tests
	$(BIN)/pytest tests/unit --numprocesses auto --maxprocesses 4 --dist loadscope
	$(BIN)/pytest --ignore tests/unit

lint: .venv/.test ## the checks that run nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

serve: .venv/.demo ## start the service on this machine (gRPC 50051, HTTP 8000)
	$(BIN)/dubserve serve

proto: .venv/.test ## make the gRPC stubs again from the .proto
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. --pyi_out=. serve_app/proto/translation.proto

docs: .venv/.test ## build the documentation into out/docs-site, where the service shows it at /docs-site
	$(BIN)/python -m docs.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet -f configs/mkdocs.yml

audit: .venv/.test ## look for known vulnerabilities in all that is installed; asks PyPI, and fails where it has no answer
	$(BIN)/pip-audit --local --skip-editable --strict --progress-spinner off

bench-translation: .venv/.bench ## translation speed beside CTranslate2 and torch; plot in out/bench, last line JSON
	$(BIN)/python -m export bench translation

bench-recognition: .venv/.bench ## recognition speed beside faster-whisper's two pipelines; plot and JSON likewise
	$(BIN)/python -m export bench recognition

bench-endtoend: .venv/.test ## eight talks through the service beside the recipe of many scripts; plots and JSON likewise
	$(BIN)/python -m tests.bench.endtoend

bench-load: .venv/.test ## replicas that follow a wave of jobs, and what the doors take; then a simulation of 64
	$(BIN)/python -m tests.bench.load
	$(BIN)/python -m tests.bench.simulate

soak: .venv/.test ## half an hour of mixed load: does anything grow, is any job lost; last line JSON
	$(BIN)/python -m tests.bench.soak

chaos: .venv/.test ## kill the service again and again while it works; what was lost or done twice, last line JSON
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.chaos --kills 0 --ends "" --updates 10
	$(BIN)/python -m tests.chaos --database postgresql

clean: ## remove what make has made; jobs and their videos under var/ stay
	rm -rf .venv build out *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile

.venv/.demo: $(LISTS) | $(BIN)/python
	@echo "Installing the service and its demo weights into .venv (some minutes and about 1.5 GB the first time) ..."
	$(INSTALL) -e '.[demo,cjk]'
	@touch $@

.venv/.test: $(LISTS) | $(BIN)/python
	@echo "Installing the service, its tests and the exporters into .venv (several minutes and some GB the first time) ..."
	$(INSTALL) -e '.[demo,test,export,postgres]'
	@touch .venv/.demo $@

.venv/.bench: .venv/.test
	@echo "Installing what the benchmarks draw and count with into .venv ..."
	$(INSTALL) -e '.[bench]'
	@touch $@

# half an environment would look like a whole one the next time
$(BIN)/python:
	@echo "Making .venv ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "install Python's venv module and try again (Debian: apt install python3-venv)"; exit 1; }
