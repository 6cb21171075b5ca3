"""The command line's frame: commands by name, errors as one clear line, exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from orrery.errors import CancelledError, OrreryError, printable
from orrery.plan import Infeasible
from orrery.provenance import PROGRAM_VERSION

from ._process import Terminated, blamed, drop, ending_cleanly, open_streams

if TYPE_CHECKING:
    from cyclopts import App, Token

CODES = (
    "Exit codes: 0 done, 1 a need is not met, 2 bad input or no plan, 3 a defect of orrery, "
    "130 interrupted, 143 told to end."
)

#: command -> what its help says below the options, where that is more than of all commands
EPILOGUES = {
    "calibrate": (
        "A table has columns network, layer and latency_s (_ms, _us, _ns, _cycles), perhaps "
        "energy_j (_mj, _uj, _nj); `orrery run MODEL --profile --out DIR` writes one for this "
        "machine. Without the networks' files it tells the work of layers instead: operator, "
        "dtype, macs, other_operations, bytes. Networks are left out in turn to judge the fit. "
        "With --out the machine goes to calibrated.yaml, which `map --on` and `nest --on` take; "
        "its latencies then have intervals. "
    ),
    "recover": (
        "Exit code 1: a part of the network, or --check found a difference; 4: no network inside, "
        "with what was tried in the report. "
    ),
    "study": (
        "Each figure says what the paper states, what came out here, who judged it, and whether "
        "the two match. Where they differ, or the paper does not say enough, the reason is "
        "printed: that is a finding and no error, so the exit code is 0. With --out the records "
        "and the report go to the folder, or to one folder per study when there are several. "
    ),
}

#: group -> command -> (place, one sentence)
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Catalogues": {
        "models": ("_catalogues:models", "List the networks of the library."),
        "systems": ("_catalogues:systems", "List the systems of the catalogue."),
        "accelerators": ("_catalogues:accelerators", "List the accelerator designs."),
        "arrays": ("_nest:arrays", "List the spatial accelerators that `nest` knows."),
    },
    "One network": {
        "show": ("_show:show", "Show a network's layers, operations, bytes and statistics."),
        "map": ("_map:map_command", "Spread a network over a system; write plan and report."),
        "simulate": ("_simulate:simulate", "Replay a plan event by event."),
        "nest": ("_nest:nest", "Find the best loop nest of every layer on one array."),
        "run": ("_run:run", "Execute a network or a plan on this machine."),
        "score": ("_score:score", "Score a network on a system, or evidence files."),
    },
    "Binaries": {
        "recover": ("_recover:recover", "Turn a compiled network back into ONNX."),
    },
    "Hardware": {
        "generate": ("_generate:generate", "Write an accelerator's circuit, its bench and report."),
    },
    "Results and variants": {
        "sweep": ("_sweep:sweep", "Price variants of a machine; say what matters most."),
        "diff": ("judging._diff:diff", "Compare two results; explain the change by layer."),
        "calibrate": (
            "judging._calibrate:calibrate",
            "Fit a device's constants to measured layers.",
        ),
        "certify": ("judging._certify:certify", "Check that a plan does as its certificate says."),
    },
    "Other tools' files": {
        "timeloop": ("_nest:timeloop", "Read files for Timeloop; price the mapping in them."),
        "chakra": ("_simulate:chakra", "Read and play Chakra execution traces."),
    },
    "Published systems": {
        "study": ("judging._study:study", "Work out anew what a paper claims; print both figures."),
        "validate": ("judging._validate:validate", "Print our error on every reference set."),
    },
}


def build() -> App:
    """Return the application; a command's module is imported when the command is used."""
    from cyclopts import App, Parameter

    app = App(
        name="orrery",
        help="Predict, map, simulate, run and score a neural network on given machines.",
        help_epilogue=(
            "MODEL is an ONNX file or a name of `orrery models`; SYSTEM is a YAML file or a name "
            f"of `orrery systems`. {CODES}"
        ),
        version=PROGRAM_VERSION,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(
            negative_bool=(), negative_iterable=(), show_default=_telling, converter=_exactly
        ),
    )
    for group, commands in COMMANDS.items():
        for name, (place, text) in commands.items():
            more = {"help_epilogue": EPILOGUES[name] + CODES} if name in EPILOGUES else {}
            app.command(f"orrery.cli.{place}", name=name, help=text, group=group, **more)
    app.command(
        "orrery.cli._completion:completion",
        name="completion",
        help="Print the completion script of a shell.",
        group="Shell",
    )
    return app


def _exactly(type_: Any, tokens: Sequence[Token]) -> Any:
    """Convert what was typed, but refuse a fraction where cyclopts would round it."""
    from cyclopts import convert

    if int in (type_, *get_args(type_)):
        for token in tokens:
            if "." in token.value and not _is_whole(token.value):
                raise ValueError(f"found {token.value!r}, wanted a whole number; correct it")
    return convert(type_, tokens)


def _is_whole(text: str) -> bool:
    """Return whether text with a point reads as a whole number; what is no number may pass."""
    with contextlib.suppress(ValueError):
        return float(text).is_integer()
    return True


def _telling(default: object) -> object:
    """Return a default that tells a reader something; an empty or false one goes without saying."""
    return default if default not in ((), False, None, "") else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    open_streams()
    _speak_any_alphabet()
    try:
        with ending_cleanly():
            return _run(list(sys.argv[1:] if arguments is None else arguments))
    except CancelledError as stop:
        return _say(str(stop), 130)
    except KeyboardInterrupt:
        return _say("interrupted; no file was left half written", 130)
    except Terminated:
        return _say("told to end; no file was left half written", 143)
    except OrreryError as error:
        if "--json" in (sys.argv if arguments is None else arguments):
            _tell(error)
        return _say(str(error), 2)
    except BrokenPipeError:
        drop(sys.stdout.fileno())  # the reader (head, less) has gone
        return 0
    except OSError as error:
        where = error.filename or blamed(error)
        return _say(
            f"{where}: {error.strerror or error}; check the path, its rights and the disk", 2
        )
    except MemoryError as error:
        return _say(
            f"not enough memory{f': {error}' if str(error) else ''}; take a smaller network "
            "or batch",
            2,
        )
    except Exception as error:  # the last resort of a program that shows no traceback to users
        if os.environ.get("ORRERY_DEBUG"):
            raise
        return _say(
            f"a defect of orrery: {type(error).__name__}: {error}\n"
            "Please report it with the command and its input; "
            "ORRERY_DEBUG=1 shows where it happened.",
            3,
        )


def _run(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    try:
        result = build()(arguments, exit_on_error=False, print_error=True)
    except CycloptsError:
        return 2  # cyclopts has said what is wrong with the command line
    sys.stdout.flush()  # a full disk shows here, where it can still be reported
    return result if isinstance(result, int) else 0


def _say(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f"orrery: {printable(text)}", file=sys.stderr)
    return code


def _tell(error: OrreryError) -> None:
    """Print why no plan exists as the one document of ``--json``."""
    why = getattr(error, "infeasible", None)
    if isinstance(why, Infeasible):
        with contextlib.suppress(OSError):
            print(json.dumps(why.document, ensure_ascii=False, allow_nan=False), flush=True)


def _speak_any_alphabet() -> None:
    """Where a stream cannot show a character, show a stand-in instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
