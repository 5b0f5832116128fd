# Hushfold. `make` lists what there is; every target sets up what it needs.
# Nothing has to be installed but Python 3.11, make and git.

PYTHON ?= python3.11
UV := .tools/bin/uv
BIN := .venv/bin
DATA ?= $(or $(HUSHFOLD_DATA),../shared/data)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast fuzz lint format models models-voice bench audit evaluate evaluate-federated evaluate-voice evaluate-federated-voice system-deps clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 28

setup: $(BIN)/.synced  ## create .venv with everything that the lock file names

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "Hushfold needs Python 3.11 ($(PYTHON) was not found). Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9'

# With bytecode, at once: where PYTHONDONTWRITEBYTECODE is set, every process would compile TensorFlow anew.
$(BIN)/.synced: $(UV) uv.lock pyproject.toml setup.cfg
	$(UV) sync --frozen --quiet --compile-bytecode --python $(PYTHON)
	@touch $@

# Sizes of the demo: make demo N=60 LOST=10 ROUNDS=4 SEED=2 TEXTS=people.jsonl.gz
# What is not named, or left empty, is up to the demo. Values are quoted for the shell: a file's name may have spaces.
quoted = '$(subst ','\'',$(1))'
option = $(if $(2),--$(1)=$(call quoted,$(2)))
DEMO_OPTIONS = $(call option,phones,$(N)) $(call option,lost,$(LOST)) $(call option,rounds,$(ROUNDS)) \
	$(call option,seed,$(SEED)) $(call option,texts,$(TEXTS))

demo: setup  ## the main job, from typing to the adopted release (N=60 LOST=10 ROUNDS=4 TEXTS=people.jsonl.gz)
	@$(BIN)/hushfold-demo run $(DEMO_OPTIONS)

models: setup  ## train the base model on public text (DATA=folder with text/*-public.jsonl.gz) and build its artifacts
	HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-models train
	$(BIN)/hushfold-models build

models-voice: setup  ## train the voice model (DATA=folder with speech/commands.tar and speech/noise.tar) and build its artifacts
	HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-models voice train
	$(BIN)/hushfold-models voice build

# Whom to measure: make evaluate USERS=60 CLIENTS=people.jsonl.gz
EVALUATE_OPTIONS = $(if $(USERS),--users $(USERS)) $(if $(CLIENTS),--clients $(CLIENTS))

evaluate: setup  ## how good suggestions are, beside other predictors (USERS=60, 0 for all; CLIENTS=people.jsonl.gz)
	@HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-evaluate $(EVALUATE_OPTIONS)

# What a federated task brings, to people whom it never met: make evaluate-federated TASK=my-task.toml FEDERATED=folder
# TASK is a rehearsal; an interrupted one goes on in its folder, and another task or another base needs another one.
TASK ?= demo_app/tasks/whole-noiseless.toml
FEDERATED ?= build/federated/$(basename $(notdir $(TASK)))

evaluate-federated: setup  ## rehearse a federated task on the people who are not measured, then measure (TASK=file)
	@HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-evaluate $(EVALUATE_OPTIONS) --others $(FEDERATED)/others.jsonl
	@$(BIN)/hushfold-demo rehearse $(TASK) --texts $(FEDERATED)/others.jsonl --home $(FEDERATED)/rehearsal
	@HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-evaluate $(EVALUATE_OPTIONS) --weights $(FEDERATED)/rehearsal --output $(FEDERATED)

# Whom to measure, and for how long to listen: make evaluate-voice SPEAKERS=0 MINUTES=60 SEED=1
# CHOOSING=1 measures the speakers by whom the thresholds were chosen, and not the others.
EVALUATE_VOICE_OPTIONS = $(if $(SPEAKERS),--speakers $(SPEAKERS)) $(if $(MINUTES),--minutes $(MINUTES)) \
	$(if $(SEED),--seed $(SEED)) $(if $(CHOOSING),--choosing)

evaluate-voice: setup  ## base words, taught words, false alarms and costs of the voice (SPEAKERS=8, 0 for all; MINUTES=60)
	@HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-evaluate-voice $(EVALUATE_VOICE_OPTIONS)

# What a federated task of the voice brings, beside central training on the same recordings (TASK_VOICE=my-task.toml).
TASK_VOICE ?= demo_app/tasks/commands-from-nothing.toml
FEDERATED_VOICE ?= build/federated/$(basename $(notdir $(TASK_VOICE)))
FEDERATED_VOICE_OPTIONS = $(if $(SEED),--seed $(SEED))

evaluate-federated-voice: setup  ## rehearse a task of the voice on half of the unheard speakers, measure on the others
	@HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-evaluate-voice $(FEDERATED_VOICE_OPTIONS) --others $(FEDERATED_VOICE)/others.csv
	@$(BIN)/hushfold-demo rehearse $(TASK_VOICE) --speech $(FEDERATED_VOICE)/others.csv \
		--models $(FEDERATED_VOICE)/models --home $(FEDERATED_VOICE)/rehearsal
	@HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-evaluate-voice $(FEDERATED_VOICE_OPTIONS) \
		--weights $(FEDERATED_VOICE)/rehearsal --output $(FEDERATED_VOICE)

# What to measure: make bench N="32 100" LOST="0 10" FLOWER=32 QUICK=1. Without anything it takes twenty minutes to an hour.
BENCH_OPTIONS = $(foreach each,$(N),--devices $(each)) $(foreach each,$(LOST),--lost $(each)) \
	$(if $(FLOWER),--flower $(FLOWER)) $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED))

bench: setup  ## time, bytes and memory of the secure sum, beside Flower's (N="32 100" LOST="0 10" FLOWER=32 QUICK=1)
	@$(BIN)/hushfold-bench $(BENCH_OPTIONS)

# How large a task to audit: make audit DEVICES=60 ROUNDS=2 EPSILON=4 SEED=1
AUDIT_OPTIONS = $(if $(DEVICES),--devices $(DEVICES)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	$(if $(EPSILON),--epsilon $(EPSILON)) $(if $(SEED),--seed $(SEED))

audit: setup  ## canaries in a task: does it keep the epsilon that its ledger claims, and are bugs noticed (DEVICES=100 ROUNDS=3)
	@$(BIN)/hushfold-audit $(AUDIT_OPTIONS)

# Debian packages that some tests and evaluations use; without them these are skipped, and say so.
SYSTEM_PACKAGES = presage libpresage1v5 onboard espeak-ng flite pulseaudio libasound2-plugins libportaudio2
SUDO = $(if $(filter 0,$(shell id -u)),,sudo)

system-deps:  ## install the Debian packages that are measured beside Hushfold, make up speech, and are a microphone for tests
	@command -v apt-get >/dev/null || { echo "There is no apt-get here; what is needed, by Debian's names: $(SYSTEM_PACKAGES)"; exit 1; }
	$(SUDO) apt-get update --quiet
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $(SYSTEM_PACKAGES)

# In how many processes; each takes whole files, and a gigabyte once it has loaded TensorFlow Federated.
WORKERS ?= 2

test: setup  ## run the whole test suite (WORKERS=2)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

test-fast: setup  ## run the tests that take seconds
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow and not tff"

# For how long to look: make fuzz SECONDS=600
fuzz: setup  ## look for bad input that the services or the decoder of messages do not withstand (SECONDS=60)
	FUZZ_SECONDS=$(or $(SECONDS),60) $(BIN)/pytest tests/fuzz --timeout=0 --quiet

lint: setup  ## check style, types and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

format: setup  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was built (not the environment)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
