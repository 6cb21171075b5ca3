# Everything a newcomer needs: `make demo`, `make test`. `make setup` only makes the environment.
.PHONY: help setup demo test lint bench studies clean
.DEFAULT_GOAL := help
OUT ?= out/demo

help:
	@echo 'make demo     map a real network onto a catalogue system and write a report page'
	@echo 'make test     lint, types and all tests (sets everything up first)'
	@echo 'make setup    only make the environment: then .venv/bin/orrery is the command'
	@echo 'make lint     ruff and mypy'
	@echo 'make bench    speed and memory figures, written to bench/results/'
	@echo 'make studies  full-size networks and studies of papers, written to bench/results/ (long)'
	@echo 'make clean    remove .venv, caches and out/'

setup:
	@scripts/setup.sh dev

demo:
	@scripts/setup.sh run
	@.venv/bin/orrery map resnet50 --on aws-f1 --out $(OUT)

test: setup
	@.venv/bin/python scripts/run_tests.py

lint: setup
	@.venv/bin/python scripts/run_tests.py lint

bench: setup
	@.venv/bin/python -m bench

studies: setup
	@.venv/bin/python scripts/full_size.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* out build dist
