# Everything runs in .venv, which the first target to need it makes.
PYTHON ?= python3
VENV   := .venv
NNIE   := $(VENV)/bin/nnie
PIP    := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: nnie test lint bench docs setup pycaffe clean help
.DEFAULT_GOAL := help

help:
	@echo "make nnie MODEL=retinaface SIZE=640   weights in, NNIE-ready network, cfg and report out"
	@echo "     MODEL=file.onnx | spec.yaml       SIZE=640 | 480x640 (height x width)"
	@echo "     MODEL=net.prototxt WEIGHTS=net.caffemodel"
	@echo "     IMAGES=folder  WEIGHTS=file  CHIP=hi3516dv300  OUTPUTS=tensor,tensor  ALLOW_GRAY=1"
	@echo "     ENGINE=onnxruntime | pycaffe      SKIP=\"merge-batch-norm\" (passes left out)"
	@echo "     COUNT=30                          of IMAGES (a folder, list.txt or video), those that differ most"
	@echo "     GEOMETRY=letterbox|stretch|crop   in place of the spec's; ANCHOR=top-left|centre  FILL=114"
	@echo "     COLOUR=BGR|RGB|GRAY               what the network takes (a file without a spec: BGR)"
	@echo "     YUV=bt601 | bt709                 the board feeds YVU420SP; RANGE=full|limited"
	@echo "     MEAN_IN_NETWORK=1                 mean and scale in the network, norm_type 0 in the cfg"
	@echo "     REPORT_LANG=en | zh               language of report.html"
	@echo "make test                             the whole test suite"
	@echo "make bench                            ratios against peers, bench.json"
	@echo "make docs                             the documentation as a site, build/site/index.html"
	@echo "make pycaffe                          build real Caffe as a second engine (some minutes, once)"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "nnie-pipeline needs Python 3.10 or newer: $$($(PYTHON) --version) found; set PYTHON=python3.12 or the like" >&2; exit 2; }
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing nnie-pipeline into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "installing the test tools into $(VENV)"
	@$(PIP) -e '.[test]'
	@touch $@

setup: $(VENV)/.run

nnie: $(VENV)/.run
	@$(NNIE) run $(if $(MODEL),"$(MODEL)",) $(if $(SIZE),--size "$(SIZE)",) $(if $(IMAGES),--images "$(IMAGES)",) $(if $(WEIGHTS),--weights "$(WEIGHTS)",) $(if $(OUTPUTS),--outputs "$(OUTPUTS)",) $(if $(CHIP),--chip "$(CHIP)",) $(if $(ENGINE),--engine "$(ENGINE)",) $(if $(ALLOW_GRAY),--allow-gray,) $(addprefix --skip ,$(SKIP)) $(if $(COUNT),--count "$(COUNT)",) $(if $(EVERY),--every "$(EVERY)",) $(if $(COLOUR),--colour "$(COLOUR)",) $(if $(GEOMETRY),--geometry "$(GEOMETRY)",) $(if $(ANCHOR),--anchor "$(ANCHOR)",) $(if $(FILL),--fill "$(FILL)",) $(if $(YUV),--yuv "$(YUV)",) $(if $(RANGE),--range "$(RANGE)",) $(if $(MEAN_IN_NETWORK),--mean-in-network,) $(if $(REPORT_LANG),--lang "$(REPORT_LANG)",)

pycaffe: $(VENV)/.run
	@$(PIP) -e '.[pycaffe]'
	@$(VENV)/bin/python -m nnie_pipeline.stages.build_pycaffe

lint: $(VENV)/.test
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

test: lint
	@$(VENV)/bin/python -m pytest -n 2

bench: $(VENV)/.test
	@$(VENV)/bin/python -m tests.bench

docs: $(VENV)/.run
	@$(PIP) -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "documentation: build/site/index.html"

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
