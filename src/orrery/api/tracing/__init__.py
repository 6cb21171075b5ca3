"""Execution traces in other tools' formats: written from a replay, read and played."""

from ._chakra import ChakraRun, chakra, write_chakra

__all__ = ["ChakraRun", "chakra", "write_chakra"]
