# Everything a newcomer and CI need. `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := ros,cpu,train,sim,data,dev,oracle
# Their own requirements clash with ours: nuscenes-devkit and av2, with which the tests compare the
# metrics, want other versions of NumPy; pccm wants a lark that overwrites the one of the ROS wheels
# (and works with that). What they import of the rest is in the extra `oracle`. TensorRT for RTX, with
# which the tests build engines, would bring CUDA libraries that nothing here can use; the one that
# compiles kernels without a GPU is named.
BARE := nuscenes-devkit av2 spconv-cu120 cumm-cu120 pccm tensorrt-rtx tensorrt-rtx-cu13 \
	tensorrt-rtx-cu13-bindings tensorrt-rtx-cu13-libs cuda-bindings cuda-pathfinder nvidia-cuda-nvrtc
CODE := kd3d_core kd3d_ros launch tests benchmarks scripts setup.py
# Google docstrings; magic, __init__ and members of protocols need none; QoS keeps its letters.
PEP257 := --convention google --add-ignore D102 D105 D107 D403
SECONDS_TO_RUN ?= 20
INPUT ?=

export AMENT_PREFIX_PATH := $(abspath $(VENV))
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

.PHONY: help setup demo test lint format check clean

help:  ## Show the targets.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): setup.py setup.cfg constraints.txt scripts/build_ros_messages.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools
	@echo "Installing (a few minutes the first time) ..."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps $(BARE)
	$(BIN)/python scripts/build_ros_messages.py
	@touch $@

setup: $(READY)  ## Make .venv with everything but the GPU packages.

demo: $(READY)  ## Run the detector on a live topic for 20 s: INPUT=folder for recorded sweeps.
	$(BIN)/python -m kd3d_ros.demo --seconds $(SECONDS_TO_RUN) $(if $(INPUT),--input $(INPUT))

test: $(READY)  ## Run all tests.
	$(BIN)/python -m pytest

lint: $(READY)  ## Style, types, docstrings.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/interrogate --quiet kd3d_core kd3d_ros
	$(BIN)/ament_flake8 --config setup.cfg $(CODE) > $(VENV)/flake8.log || (cat $(VENV)/flake8.log; exit 1)
	$(BIN)/ament_pep257 $(PEP257) -- kd3d_core kd3d_ros launch > $(VENV)/pep257.log || (cat $(VENV)/pep257.log; exit 1)

format: $(READY)  ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test  ## What CI runs.

clean:  ## Remove the environment and what the demo wrote.
	rm -rf $(VENV) .demo build
