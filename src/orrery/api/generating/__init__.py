"""Circuits of accelerators as files, and the page that shows one."""

from ._generate import GenerateResult, generate

__all__ = ["GenerateResult", "generate"]
