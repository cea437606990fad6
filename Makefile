# What one does with Postroom; `make` alone prints it.
PYTHON ?= python3
# One environment an interpreter: `.venv` for the default one, `.venv-<name>` beside it for another.
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev lock

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## create the environment from requirements.lock (what `run` does first)
	@tools/setup $(PYTHON) $(VENV) runtime

setup-dev: ## the same with the development tools (what `test` and `check` do first)
	@tools/setup $(PYTHON) $(VENV) development

lock: setup-dev ## rewrite the locks from the pyproject.toml files (ARGS=--upgrade for newer versions)
	@tools/lock $(BIN)/uv $(ARGS)
