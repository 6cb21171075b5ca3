"""Programs that hold no network, found by search: commands, and programs that compute."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orrery.decompile import RecoverLimits, recover_binary
from orrery.errors import CancelledError, OrreryError
from orrery.progress import SILENT, Progress

__all__ = ["NUMERIC", "Ordinary", "commands", "look_into", "numeric_programs"]

#: A file of a command's size; what is larger is seldom a command.
_LARGEST = 4 << 20

#: kind -> patterns of file names, in the folders of `_folders`
NUMERIC = {
    "linear algebra": ("*openblas*.so*", "libblas.so*", "lapack_lite*.so", "_flapack*.so",
                       "_superlu*.so", "_decomp_lu_cython*.so", "libgsl.so*"),
    "Fourier transform": ("_pocketfft_umath*.so", "pypocketfft*.so", "libfftw3f.so*",
                          "libfftw3.so*"),
    "image filter": ("_nd_image*.so", "_imaging.*.so", "libswscale.so*", "libpixman-1.so*",
                     "libopencv_imgproc.so*"),
    "signal filter": ("_sigtools*.so", "_sosfilt*.so", "_upfirdn_apply*.so", "_spline*.so",
                      "libsamplerate.so*"),
    "codec": ("libjpeg*.so*", "libpng16*.so*", "libwebp*.so*", "libtiff*.so*", "libz.so*",
              "libzstd*.so*", "liblzma*.so*", "libavcodec.so*", "libvorbis*.so*", "libopus*.so*",
              "libFLAC.so*", "libmp3lame.so*", "libopenjp2*.so*", "_brotli*.so"),
    "mathematics": ("libm.so.6", "libmvec.so.1", "libquadmath*.so*", "_specfun*.so",
                    "_distance_wrap*.so", "_qhull*.so", "_fitpack*.so", "libgmp.so*"),
}  # fmt: skip


def _folders() -> Iterator[Path]:
    yield Path(sysconfig.get_path("platlib"))
    machine = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    yield from (Path("/usr/lib") / machine, Path("/lib") / machine, Path("/usr/lib64"))


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            return path.is_file() and handle.read(4) == b"\x7fELF"
    except OSError:
        return False


def numeric_programs() -> dict[Path, str]:
    """Return files of programs that compute with numbers, each with its kind; one of a name."""
    found: dict[Path, str] = {}
    for kind, patterns in NUMERIC.items():
        for pattern in patterns:
            files = (one for folder in _folders() if folder.is_dir()
                     for one in sorted(folder.rglob(pattern)))  # fmt: skip
            chosen = next((one.resolve() for one in files if _is_program(one)), None)
            if chosen is not None:
                found.setdefault(chosen, kind)
    return found


def commands(count: int = 50) -> list[Path]:
    """Return commands of this system, evenly from all of them in order of their names."""
    every = {path.resolve() for path in Path("/usr/bin").iterdir() if _is_program(path)}
    fitting = sorted(path for path in every if path.stat().st_size <= _LARGEST)
    step = max(1, len(fitting) // count)
    return fitting[::step][:count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordinary:
    """What looking for a network in a program without one came to.

    Attributes
    ----------
    state : ``none`` found, which is right; a network was ``taken`` to be in it; ``refused``: it
        is no binary that can be read
    whole : whether all of it was read within the limits; else what was read shows nothing wrong
    named : operators that were recognised without being taken for a network, one a loop
    """

    name: str
    kind: str
    state: str
    whole: bool
    named: tuple[str, ...] = ()
    reason: str = ""
    seconds: float = 0.0

    @property
    def loops(self) -> int:
        """How many loops compute as operators do."""
        return len(self.named)


def look_into(
    path: Path, kind: str, limits: RecoverLimits, progress: Progress = SILENT
) -> Ordinary:
    """Look for a network in a program that has none.

    Raises
    ------
    CancelledError : the user asked to stop
    """
    try:
        found = recover_binary(path, limits=limits, progress=progress)
    except CancelledError:
        raise
    except OrreryError as error:
        return Ordinary(name=path.name, kind=kind, state="refused", whole=True, reason=str(error))
    network = found.network
    results = [one.result for one in network.tried] if network else []
    results += [stage.detail for stage in found.stages if stage.name == "reading"]
    words = ("out of time", "not begun", " lost")
    late = bool(found.problem) or any(word in one for one in results for word in words)
    return Ordinary(
        name=path.name, kind=kind, state="none" if found.verdict == "none" else "taken",
        whole=not late, named=tuple(one.operator for one in network.loose) if network else (),
        reason=found.problem or (network.reason if network else ""),
        seconds=sum(stage.seconds for stage in found.stages),
    )  # fmt: skip
