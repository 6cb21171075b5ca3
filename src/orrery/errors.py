"""What can go wrong, said so that a user can mend it.

Every message says where, what was found, what was wanted and what to change. A failed *search* is
not an error: it returns an `orrery.plan.Infeasible`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

__all__ = [
    "CancelledError",
    "MissingExtraError",
    "ModelError",
    "OrreryError",
    "PlanMismatchError",
    "SpecError",
    "UnknownNameError",
    "UnsupportedOperatorsError",
    "check_choice",
    "nearest",
    "printable",
]


class OrreryError(Exception):
    """Anything a user can cause or mend; the command line prints it without a traceback.

    It survives pickling, whatever its own `__init__` asks for: other processes raise it too.
    """

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), self.args), dict(self.__dict__)


def _again(kind: type[OrreryError], args: tuple[object, ...]) -> OrreryError:
    """Return an error as it was made, past the keywords of its `__init__`."""
    return kind.__new__(kind, *args)


class SpecError(OrreryError, ValueError):
    """A file, an option or an argument does not say what it must.

    Parameters
    ----------
    where : path and key, e.g. ``edge.yaml: memories.dram.size``
    found : what stands there
    wanted : what should stand there, as a noun phrase
    fix : what to do, as an imperative
    """

    def __init__(self, where: str, *, found: object, wanted: str, fix: str) -> None:
        self.where, self.found, self.wanted, self.fix = where, found, wanted, fix
        super().__init__(f"{where}: found {_short(found)}, wanted {wanted}; {fix}")


class ModelError(OrreryError, ValueError):
    """A network file or module that cannot be read as a graph."""

    def __init__(self, where: str, *, found: object, wanted: str, fix: str) -> None:
        self.where, self.found, self.wanted, self.fix = where, found, wanted, fix
        super().__init__(f"{where}: found {_short(found)}, wanted {wanted}; {fix}")


class UnsupportedOperatorsError(OrreryError):
    """A network uses operators this program does not know: all of them, with their nodes.

    `what` names the lack, when it is another one than being unknown.
    """

    def __init__(
        self, where: str, operators: dict[str, Sequence[str]], *, fix: str,
        what: str = "unknown operators",
    ) -> None:  # fmt: skip
        self.where, self.operators, self.fix = where, operators, fix
        listed = "; ".join(
            f"{operator} ({len(nodes)}×: {', '.join(nodes[:4])}{', …' if len(nodes) > 4 else ''})"
            for operator, nodes in sorted(operators.items())
        )
        super().__init__(f"{where}: found {len(operators)} {what}: {listed}; {fix}")


class UnknownNameError(OrreryError, KeyError):
    """A name that no catalogue holds; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        super().__init__(
            f"no {kind} named {name!r}{did_you_mean(name, self.known)}; "
            f"known: {', '.join(self.known) or '(none)'}"
        )

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class MissingExtraError(OrreryError, ImportError):
    """A heavy package that an optional capability needs is not installed."""

    def __init__(self, package: str, extra: str, *, purpose: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{purpose}: found no package {package!r}, wanted it installed; "
            f"run: pip install 'orrery[{extra}]'"
        )


class PlanMismatchError(OrreryError):
    """A plan was made for another model or system than the one at hand."""

    def __init__(self, what: str, *, name: str, planned: str, found: str) -> None:
        super().__init__(
            f"plan: {what} {name!r}: found content {found[:12]}, wanted {planned[:12]} "
            f"as when the plan was made; make the plan again or give the original {what}"
        )


class CancelledError(OrreryError):
    """The user asked to stop; what was finished by then has been kept."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to `name`, or None when nothing is close."""
    folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` or an empty string."""
    near = nearest(name, known)
    return f", did you mean {near!r}?" if near else ""


def check_choice(
    where: str, found: str, known: Collection[str], *, fix: str = "correct the name"
) -> str:
    """Return `found` if it is one of the known names; the error offers the nearest.

    Raises
    ------
    SpecError : it is none of them
    """
    if found in known:
        return found
    raise SpecError(where, found=found, wanted=f"one of {', '.join(known)}",
                    fix=f"{fix}{did_you_mean(str(found), known)}")  # fmt: skip


def printable(text: str) -> str:
    """Return text in which no control character can reach a terminal; line feeds stay."""
    return "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _short(found: object) -> str:
    text = repr(found) if isinstance(found, str) else str(found)
    return text if len(text) <= 600 else text[:597] + "…"
