"""Processes of a netlist as the statements of Verilog: ``if``, ``case``, assignments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ._expression import Writer
from ._netlist import Assign, Bit, Module, Process, Switch

#: A name in Verilog text that is no part of a literal and no system function; constant bounds.
_READ = re.compile(r"(?<![\w'$.])([A-Za-z_]\w*)(\[\d+(?::\d+)?\])?")

Statement = Assign | Switch


@dataclass(slots=True)
class Clocked:
    """The registers of a module: what reset does, what a clock edge does else.

    Attributes
    ----------
    reset : assignments under reset
    body : statements of the registers that have a reset
    free : statements of those that have none
    names : of all these registers
    """

    reset: list[Statement] = field(default_factory=list)
    body: list[Statement] = field(default_factory=list)
    free: list[Statement] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def clocked(module: Module) -> Clocked:
    """Take flip-flops and the processes that feed them alone out of a module.

    What is done under equal conditions is brought under one condition, register by register.
    """
    found = Clocked()
    feeds = {_first_name(process): process for process in module.processes}
    readers: dict[str, int] = {}
    for bits in reads(module):
        for name in {bit[0] for bit in bits if isinstance(bit, tuple)}:
            readers[name] = readers.get(name, 0) + 1
    for cell in [cell for cell in module.cells if cell.kind == "$dff"]:
        data, out = cell.ports["D"], cell.ports["Q"]
        name = out[0][0]
        found.names.add(name)
        source = data[0][0] if isinstance(data[0], tuple) else ""
        process = feeds.get(source)
        alone = (
            process is not None
            and source.startswith("$")
            and readers.get(source) == 1
            and data == [(source, place) for place in range(module.wires[source].width)]
        )
        body: list[Statement]
        under: list[Statement] | None
        if process is not None and alone:
            body = process.body
            under = _reset_of(body)
            if under is not None:  # reset wins over all before it; it is written apart
                body = body[:-1]
                under = _retarget(under, source, name)
            body = _retarget(body, source, name)
            module.processes.remove(process)
            del module.wires[source]
        else:
            body, under = [Assign(out, data)], None
        first = body[0] if body else None
        if isinstance(first, Assign) and first.left == out and first.right == out:
            body = body[1:]
        if under is not None:
            _merge(found.reset, under)
            _merge(found.body, body)
        else:
            _merge(found.free, body)
    module.cells = [cell for cell in module.cells if cell.kind != "$dff"]
    return found


def _first_name(process: Process) -> str:
    first = process.body[0]
    bit = first.left[0] if isinstance(first, Assign) else "0"
    return bit[0]


def _reset_of(body: list[Statement]) -> list[Statement] | None:
    """Return what the last statement does under reset, if that is all it does."""
    last = body[-1] if body else None
    if isinstance(last, Switch) and last.on == [("\\rst", 0)] and len(last.cases) == 1:
        patterns, inner = last.cases[0]
        return inner if patterns == ["1"] else None
    return None


def _retarget(body: list[Statement], old: str, new: str) -> list[Statement]:
    made: list[Statement] = []
    for item in body:
        if isinstance(item, Assign):
            left: list[Bit] = [
                (new, bit[1]) if isinstance(bit, tuple) and bit[0] == old else bit
                for bit in item.left
            ]
            made.append(Assign(left, item.right))
        else:
            cases = [(patterns, _retarget(inner, old, new)) for patterns, inner in item.cases]
            made.append(Switch(item.on, cases))
    return made


def _merge(into: list[Statement], added: list[Statement]) -> None:
    """Join the statements of one more register; the order of each register's own is kept."""
    at = 0
    for item in added:
        if isinstance(item, Switch):
            patterns = [case[0] for case in item.cases]
            for place in range(at, len(into)):
                other = into[place]
                if (
                    isinstance(other, Switch)
                    and other.on == item.on
                    and [case[0] for case in other.cases] == patterns
                ):
                    for mine, theirs in zip(other.cases, item.cases):
                        _merge(mine[1], theirs[1])
                    at = place + 1
                    break
            else:
                into.append(item)
                at = len(into)
        else:
            into.insert(at, item)
            at += 1


def reads(module: Module, extra: list[Statement] | None = None) -> Iterator[list[Bit]]:
    """Yield every operand of a module, and of statements taken out of it."""
    for cell in module.cells:
        result = {"$dff": "Q", "$memrd_v2": "DATA"}.get(cell.kind, "Y")
        for port, bits in cell.ports.items():
            if cell.kind.startswith("\\") or port != result:
                yield bits
    for process in module.processes:
        yield from _reads(process.body)
    yield from _reads(extra or [])
    for _, bits in module.connects:
        yield bits


def _reads(body: list[Statement]) -> Iterator[list[Bit]]:
    for item in body:
        if isinstance(item, Assign):
            yield item.right
            continue
        if _tests(item) is None:
            yield item.on
        else:
            for bit in item.on:
                yield [bit]
        for _, inner in item.cases:
            yield from _reads(inner)


def _tests(switch: Switch) -> list[tuple[Bit | None, bool]] | None:
    """Return (bit, wanted value) of every case where each looks at one bit; None bit: always.

    None where a case looks at several bits: it is written as ``case``.
    """
    tests: list[tuple[Bit | None, bool]] = []
    for patterns, _ in switch.cases:
        if not patterns:
            tests.append((None, True))
            continue
        if len(patterns) > 1:
            return None
        looked = [
            (switch.on[place], value == "1")
            for place, value in enumerate(reversed(patterns[0])) if value != "-"
        ]  # fmt: skip
        if len(looked) > 1 or (len(switch.on) > 1 and looked and not looked[0][1]):
            return None
        tests.append(looked[0] if looked else (None, True))
    sure = all(bit is not None for bit, _ in tests)
    if len(tests) == 2 and len(switch.on) == 1 and sure and tests[0][1] != tests[1][1]:
        tests[1] = (None, True)  # the other value of the one bit
    return tests


def chain(body: list[Statement], writer: Writer, *, most: int = 4) -> str | None:
    """Return the value of a combinational process as ``c ? a : b``; None where it is no such chain.

    Every assignment must be of the whole wire and there are `most` of them at most.
    """
    first = body[0]
    if not isinstance(first, Assign):
        return None
    whole = first.left
    if len(body) > 1 and all(isinstance(item, Assign) for item in body):  # each a part of it
        bits: dict[Bit, Bit] = {}
        for item in body:
            bits |= dict(zip(item.left, item.right)) if isinstance(item, Assign) else {}
        return writer.assigned([bits[bit] for bit in sorted(bits, key=lambda bit: bit[1])])
    value = writer.plain(first.right)
    count = 1
    for item in body[1:]:
        if isinstance(item, Assign):
            return None
        tests = _tests(item)
        if tests is None:
            return None
        text = value
        for (bit, wanted), (_, inner) in reversed(list(zip(tests, item.cases))):
            if len(inner) > 1 or any(not isinstance(a, Assign) or a.left != whole for a in inner):
                return None
            only = inner[0] if inner else None
            right = writer.plain(only.right) if isinstance(only, Assign) else value
            count += 1
            if bit is None:
                text = right
                continue
            head = writer.alone([bit])
            if not wanted:
                head = _negated(head)
            elif not head.isidentifier():
                head = f"({head})"
            right = f"({right})" if " ? " in right else right
            text = f"{head} ? {right} : {text}"
        value = text
    return value if count <= most and len(value) <= 200 else None


def lines_of(
    body: list[Statement], writer: Writer, left: Mapping[str, str], widths: Mapping[str, int],
    sign: str, *, values: Mapping[str, Mapping[str, str]] | None = None,
) -> list[str]:  # fmt: skip
    """Return statements as lines, two spaces a level.

    Parameters
    ----------
    left : wire -> name in Verilog; widths : wire -> bits
    sign : ``=`` or ``<=``
    values : wire -> pattern -> what a value of an enumeration is called
    """
    lines: list[str] = []
    for item in body:
        if isinstance(item, Assign):
            target = _target_text(item.left, left, widths)
            lines.append(f"{target} {sign} {writer.assigned(item.right)};")
            continue
        inner = [
            lines_of(case, writer, left, widths, sign, values=values) for _, case in item.cases
        ]
        if not any(inner):
            continue
        tests = _tests(item)
        lines += (
            _case(item, inner, writer, values or {}) if tests is None
            else _ifs(tests, inner, writer)
        )  # fmt: skip
    return lines


def function_of(
    head: str, lines: list[str], shapes: Mapping[str, str], inner: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Return the wires that lines of a combinational process read, and them as a function.

    A function and not a block ``always @*``: a simulator of four values runs such a block only
    when something it reads changes, so that its result is unknown from power-up until then. A
    continuous assignment of a function's result holds from the beginning.

    Parameters
    ----------
    head : shape and name of the function, the name being what `lines` assign
    shapes : wire that may be read -> its shape
    inner : what a wire is called inside; its own name would hide the wire
    """
    inputs: dict[str, str] = {}
    codes = [line.partition("//") for line in lines]
    whole = {  # of which more is read than parts with constant bounds
        found[1] for code, _, _ in codes for found in _READ.finditer(code) if not found[2]
    }

    def renamed(found: re.Match[str]) -> str:
        name, part = found[1], found[2] or ""
        if name not in shapes:
            return found[0]
        if name in whole:
            inputs[name] = f"  input {shapes[name]}{inner(name)};"
            return f"{inner(name)}{part}"
        bounds = [int(bound) for bound in part[1:-1].split(":")]
        high, low = bounds[0], bounds[-1]
        shape = f"[{high - low}:0] " if high > low else ""
        made = inner("_".join([name, *map(str, bounds)]))
        inputs[found[0]] = f"  input {shape}{made};"
        return made

    body = [f"    {_READ.sub(renamed, code)}{mark}{note}" for code, mark, note in codes]
    return list(inputs), [
        f"function {head};", *inputs.values(), "  begin", *body, "  end", "endfunction"
    ]  # fmt: skip


def _ifs(tests: list[tuple[Bit | None, bool]], inner: list[list[str]], writer: Writer) -> list[str]:
    while inner and not inner[-1]:
        tests, inner = tests[:-1], inner[:-1]
    (first, wanted), *others = tests
    if first is not None and not inner[0] and len(others) == 1 and others[0][0] is None:
        tests, inner = [(first, not wanted)], inner[1:]  # if (a); else b is if (!a) b
    lines: list[str] = []
    for place, ((bit, value), body) in enumerate(zip(tests, inner)):
        if bit is None:
            head = "else" if place else ""
        else:
            text = writer.alone([bit])
            text = text if value else _negated(text)
            head = f"{'else ' if place else ''}if ({text})"
        if not head:
            return body
        lines += _block(head, body)
        if bit is None:
            break
    return lines


def _negated(text: str) -> str:
    return f"!{text}" if text.isidentifier() else f"!({text})"


def _block(head: str, body: list[str]) -> list[str]:
    if len(body) == 1 and not body[0].startswith(("if ", "case")):  # no else without its if
        return [f"{head} {body[0]}"] if len(head) + len(body[0]) < 80 else [head, f"  {body[0]}"]
    return [f"{head} begin", *(f"  {line}" for line in body), "end"]


def _case(
    switch: Switch, inner: list[list[str]], writer: Writer, values: Mapping[str, Mapping[str, str]]
) -> list[str]:
    wild = any("-" in pattern for patterns, _ in switch.cases for pattern in patterns)
    first = switch.on[0]
    called = values.get(first[0], {}) if isinstance(first, tuple) else {}
    lines = [f"{'casez' if wild else 'case'} ({writer.selector(switch.on)})"]
    for (patterns, _), body in zip(switch.cases, inner):
        if patterns:
            labels = ", ".join(_label(pattern) for pattern in patterns)
        else:
            labels = "default"
        names = [called[pattern] for pattern in patterns if pattern in called]
        note = f"  // {', '.join(names)}" if names else ""
        if not body:
            lines.append(f"  {labels}: ;{note}")
        elif len(body) == 1:
            lines.append(f"  {labels}: {body[0]}{note}")
        else:
            lines.append(f"  {labels}: begin{note}")
            lines += [f"    {line}" for line in body]
            lines.append("  end")
    if all(patterns for patterns, _ in switch.cases):
        lines.append("  default: ;")
    return [*lines, "endcase"]


def _label(pattern: str) -> str:
    width = len(pattern)
    if "-" in pattern:
        return f"{width}'b{pattern.replace('-', '?')}"
    return f"{width}'d{int(pattern, 2)}"


def _target_text(bits: list[Bit], names: Mapping[str, str], widths: Mapping[str, int]) -> str:
    name, low = str(bits[0][0]), int(bits[0][1])
    high = low + len(bits) - 1
    text = names[name]
    if low == 0 and high == widths[name] - 1:
        return text
    return f"{text}[{high}]" if low == high else f"{text}[{high}:{low}]"
