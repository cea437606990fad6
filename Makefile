# What one does with Postroom; `make` alone prints it.
PYTHON ?= python3
# An environment for each interpreter: `.venv` for the default one, `.venv-<name>` beside it for another.
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev test test-tools client-test chart chart-docs chart-test image image-tar image-sbom image-test pod-test upgrade-test image-tools check fmt proto drill lock bench bench-peers clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "ARGS='...' passes options on; PYTHON=python3.13 takes another interpreter."

run: setup ## start everything on this machine, with two demo accounts; Ctrl-C stops it
	@exec $(BIN)/postroom up --demo $(ARGS)

setup: ## create the environment for `run` from requirements.lock
	@tools/setup $(PYTHON) $(VENV) runtime

setup-dev: ## the same with the development tools, for `test` and `check`
	@tools/setup $(PYTHON) $(VENV) development

# Files are shared out over up to four processes, each with servers of its own.
test: setup-dev test-tools ## run the whole test suite (ARGS='-k imap' for a part of it, '-n 0' in one process)
	@POSTROOM_DEBIAN_TOOLS=$(CURDIR)/build/debian/bin \
		$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

test-tools: setup-dev ## fetch helm and the Debian clients that tests use, without root and without installing them
	@tools/debian-tools tools/debian-packages.txt build/debian
	@tools/helm $(BIN)/python build/helm

client-test: setup-dev ## keep mail with real clients (docs/clients.md), from Debian without installing them (ARGS='-k mbsync')
	@tools/debian-tools tools/client-packages.txt build/clients
	@POSTROOM_CLIENTS=1 POSTROOM_DEBIAN_TOOLS=$(CURDIR)/build/clients/bin $(BIN)/python -m pytest $(ARGS) tests/clients

chart: setup-dev test-tools ## lint the Helm chart and pack it into build/
	@build/helm/helm lint --strict --quiet deploy/helm/postroom
	@build/helm/helm package --destination build deploy/helm/postroom

chart-docs: setup-dev ## write the chart's README and the settings in its schema anew
	@$(BIN)/python tools/chart_docs.py

chart-test: setup-dev test-tools ## all tests of the chart: every scenario, Kubernetes version and Helm (ARGS='-k tls')
	@POSTROOM_CHART_TESTS=all $(BIN)/python -m pytest tests/chart $(ARGS)

image: ## build the services' images (SERVICE='mailstore' for one, BASE=name@digest for another base)
	@tools/image build $(SERVICE)

image-tar: ## the same, and write them to build/images for `ctr images import` (SERVICE=all: the bundled parts too)
	@tools/image tar $(SERVICE)

image-sbom: ## the same, and write their bills of materials (CycloneDX) to build/images
	@tools/image sbom $(SERVICE)

image-test: setup-dev test-tools ## build all, unpack them, test what they hold and the whole chart as pods (root)
	@tools/image root $(or $(SERVICE),all)
	@tools/image tar bundled-nats
	@POSTROOM_IMAGE_ROOTS=$(CURDIR)/build/images/roots POSTROOM_HELM_TOOLS=$(CURDIR)/build/helm \
		unshare --mount --net $(BIN)/python -m pytest $(ARGS) tests/images

pod-test: setup-dev test-tools ## the chart as pods again, each a container of containerd from its tarball (root, Debian)
	@tools/debian-tools tools/container-packages.txt build/containerd
	@tools/image root all && tools/image tar all
	@POSTROOM_IMAGE_ROOTS=$(CURDIR)/build/images/roots POSTROOM_HELM_TOOLS=$(CURDIR)/build/helm \
		POSTROOM_CONTAINER_TOOLS=$(CURDIR)/build/containerd/bin \
		unshare --mount --net $(BIN)/python -m pytest $(ARGS) tests/images/test_{wiring,moving,rolling_upgrade}.py

upgrade-test: setup-dev test-tools ## an upgrade under load from the images of an older revision (FROM=v0.1.0; root)
	@tools/image-of-revision $(or $(FROM),HEAD^) build/upgrade
	@tools/image root all
	@POSTROOM_IMAGE_ROOTS=$(CURDIR)/build/images/roots POSTROOM_HELM_TOOLS=$(CURDIR)/build/helm \
		POSTROOM_IMAGE_ROOTS_BEFORE=$(CURDIR)/build/upgrade/build/images/roots \
		unshare --mount --net $(BIN)/python -m pytest $(ARGS) tests/images/test_rolling_upgrade.py

image-tools: ## install what images are built with where there is no docker: buildah, debootstrap (root, Debian)
	@tools/image-tools

check: setup-dev ## check format, lint, types, architecture, spelling, contracts (ARGS='types lint' for some)
	@tools/check $(BIN) $(ARGS)

fmt: setup-dev ## lay out the code and mend what can be mended
	@$(BIN)/ruff check --quiet --fix-only . && $(BIN)/ruff format --quiet .

proto: setup-dev ## generate the contracts' Python from proto/
	@tools/proto $(BIN)

drill: setup-dev ## lose everything, restore it from backups and look whether all is there
	@POSTROOM_DRILL=1 $(BIN)/python -m pytest $(ARGS) tests/drill

lock: setup-dev ## rewrite the locks from the pyproject.toml files (ARGS=--upgrade for newer versions)
	@tools/lock $(BIN)/uv $(ARGS)

bench: setup-dev ## measure, beside the peers where they are installed (ARGS=--help says what there is)
	@cd tests/bench && exec $(CURDIR)/$(BIN)/python -m bench $(ARGS)

bench-peers: setup-dev ## install what `make bench` measures beside: Postfix, Dovecot, vsftpd, pymap (root, Debian)
	@tests/bench/install-peers

clean: ## remove environments and whatever else was built (never mail or files)
	rm -rf .venv .venv-* build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find libs services tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
