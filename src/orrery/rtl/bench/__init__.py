"""A bench that ships with a circuit, its README and record, and how many mutants it catches."""

from ._mutants import mutant_circuit, mutants, mutation_score
from ._readme import (
    Block,
    CircuitRecord,
    circuit_files,
    circuit_record,
    read_circuit_record,
    refuse_others,
    write_circuit,
)
from ._run import BenchTool, run_bench
from ._testbench import bench_files
from ._vectors import PlainVectors, StreamVectors, Vectors

__all__ = [
    "BenchTool",
    "Block",
    "CircuitRecord",
    "PlainVectors",
    "StreamVectors",
    "Vectors",
    "bench_files",
    "circuit_files",
    "circuit_record",
    "mutant_circuit",
    "mutants",
    "mutation_score",
    "read_circuit_record",
    "refuse_others",
    "run_bench",
    "write_circuit",
]
