"""Where the machine code of a container's kernels begins, in the image that holds it."""

from __future__ import annotations

from ..images import Image

#: What TVM puts before a function's name when it exports it.
PREFIX = "__tvm_ffi_"


def kernel_table(image: Image) -> tuple[int, ...]:
    """Return the kernels of an executable that lists them: its longest table of code pointers.

    No name is needed: a table is pointers to code, one behind the other, in memory that is not
    written once it is loaded.
    """
    size = image.pointer_bytes
    best: list[int] = []
    run: list[int] = []
    last = -1
    for place, target in sorted(image.references.items()):
        fits = image.is_code(target & ~1) and image.is_constant(place, size)
        if not fits or image.is_code(place):
            run = []
            continue
        run = [*run, target] if place == last + size else [target]
        last = place
        if len(run) > len(best):
            best = run
    return tuple(best)
