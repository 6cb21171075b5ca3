"""Verilog expressions whose value is provably that of the netlist.

Verilog evaluates ``a + b`` in a width and a signedness that its surroundings decide: an operand is
extended to the widest one in sight, by its sign only if all are signed. So an expression here says
what it holds under which surroundings, and is put into another one only if it keeps its value
there; where that is not plain it stays a wire of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ._netlist import Bit, Cell, Wire, is_constant

#: How an expression must be surrounded: its operands are as wide as itself, or are to be extended
#: by zeros, or by their sign.
_ANY, _UNSIGNED, _SIGNED = "", "u", "s"

_INFIX = {
    "$add": "+", "$sub": "-", "$mul": "*", "$and": "&", "$or": "|", "$xor": "^",
    "$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">=",
}  # fmt: skip
_COMPARISONS = {"$eq", "$ne", "$lt", "$le", "$gt", "$ge"}
_REDUCTIONS = {"$reduce_bool": "|", "$reduce_or": "|", "$reduce_and": "&", "$reduce_xor": "^"}
#: Operators that may be written in a row without brackets: (a + b) + c is a + b + c.
_CHAINS = {"+", "*", "&", "|", "^", "&&", "||"}
#: What needs no brackets: a name, a slice, a literal, a concatenation without one inside.
_PRIMARY = re.compile(r"(?:\w+(?:\[[\d:]+\])?|\d+'[hd][\da-f]+|\{[^{}]*\})\Z")
#: A folded expression longer than this stays a wire of its own.
_LONGEST = 72


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """Text for a value of `width` bits.

    Attributes
    ----------
    text : mode -> how it is written where all surroundings are unsigned ("u"), signed ("s"), or
        nothing is extended ("")
    natural : the width Verilog gives it by itself
    mode : in which surroundings it has its value at `width` bits; "" in all
    exact : modes in which a wider surrounding gives the value extended to it
    symbol : the operator at its top, empty where it needs no brackets
    """

    text: Mapping[str, str]
    width: int
    natural: int
    mode: str = _ANY
    exact: str = ""
    symbol: str = ""

    def alone(self) -> str:
        """Return the text where nothing around it counts, as an index or in a concatenation."""
        return self.text[self.mode]


def constant(bits: list[Bit], *, signed: bool = False) -> str:
    """Return a literal; unknown bits are 0, as in a two-state engine."""
    value = int("".join("1" if bit == "1" else "0" for bit in reversed(bits)) or "0", 2)
    width = len(bits)
    if signed:
        negative = bool(value >> (width - 1))
        size = (1 << width) - value if negative else value
        if size >> (width - 1) and width > 1:  # the lowest number has no positive twin
            return f"$signed({width}'h{value:x})"
        return f"-{width}'sd{size}" if negative and width > 1 else f"{width}'sd{value}"
    if width == 1:
        return f"1'b{value}"
    return f"{width}'d{value}" if value < 1024 else f"{width}'h{value:x}"


class Writer:
    """Writes the expressions of one module.

    Parameters
    ----------
    wires : of the module
    names : wire -> its name in Verilog
    makers : made wire -> the cell behind it, those that may be folded into their one reader
    name : makes a name that is free from one that is wanted
    """

    def __init__(
        self, wires: Mapping[str, Wire], names: Mapping[str, str], makers: Mapping[str, Cell],
        name: Callable[[str], str],
    ) -> None:  # fmt: skip
        self._wires, self._names, self._makers, self._name = wires, names, makers, name
        self._folded: dict[str, Expression | None] = {}
        self.kept: set[str] = set()  #: made wires that must stand as wires of their own
        self.helpers: dict[tuple[Bit, ...], str] = {}  #: bits that want a name -> that name

    # What stands at an operand

    def operand(self, bits: list[Bit]) -> Expression:
        """Return bits as an expression: folded where there is a maker, else as they are."""
        inner = self._whole_maker(bits)
        if inner is not None and (found := self._fold(inner)) is not None:
            return found
        return self._leaf(bits)

    def alone(self, bits: list[Bit]) -> str:
        """Return bits as text where nothing around it counts."""
        found = self.operand(bits)
        if found.natural != found.width:
            found = self._leaf(bits, keep=True)
        return found.alone()

    def index(self, bits: list[Bit]) -> str:
        """Return bits as text of an index, which Verilog would take for negative if signed."""
        found = self.operand(bits)
        if found.natural != found.width:
            found = self._leaf(bits, keep=True)
        if found.mode == _SIGNED:
            return f"$unsigned({found.text[_SIGNED]})"
        return found.text[_UNSIGNED]

    def assigned(self, bits: list[Bit]) -> str:
        """Return bits as text on the right of an assignment to as many bits."""
        found = self.operand(bits)
        if found.natural > found.width:
            found = self._leaf(bits, keep=True)
        return found.text[found.mode]

    def plain(self, bits: list[Bit]) -> str:
        """Return bits as text that may stand beside other such text of as many bits."""
        found = self.operand(bits)
        if found.natural > found.width or found.mode:
            found = self._leaf(bits, keep=True)
        return found.text[_ANY]

    def selector(self, bits: list[Bit]) -> str:
        """Return bits as what a ``case`` looks at; its labels, unsigned, count as surroundings."""
        return self._alone_part(bits).text[_ANY]

    def _whole_maker(self, bits: list[Bit]) -> str | None:
        """Return the foldable wire that the bits are, all of it."""
        first = bits[0] if bits else "0"
        if not isinstance(first, tuple) or first[0] not in self._makers or first[1]:
            return None
        name = first[0]
        if name in self.kept or len(bits) != self._wires[name].width:
            return None
        return name if bits == [(name, place) for place in range(len(bits))] else None

    def _fold(self, name: str) -> Expression | None:
        if name not in self._folded:
            found: Expression | None = self.cell(self._makers[name])
            if found is not None and len(found.alone()) > _LONGEST:
                found = None
            if found is not None and found.natural > found.width:
                found = None
            self._folded[name] = found
            if found is None:
                self.kept.add(name)
        return self._folded[name]

    def _leaf(self, bits: list[Bit], *, keep: bool = False) -> Expression:
        """Return bits as names, slices, literals, concatenations."""
        if keep and (inner := self._whole_maker(bits)) is not None:
            self.kept.add(inner)
        if is_constant(bits):
            plain, signed = constant(bits), constant(bits, signed=True)
            return Expression(
                text={_ANY: plain, _UNSIGNED: plain, _SIGNED: signed}, width=len(bits),
                natural=len(bits), exact=_UNSIGNED + _SIGNED,
            )  # fmt: skip
        runs = self._runs(bits)
        if len(runs) == 1:
            plain = runs[0]
            first = bits[0]
            is_signed = (
                isinstance(first, tuple)
                and self._wires[first[0]].signed
                and len(bits) > 1
                and plain == self._names[first[0]]
            )
        else:
            plain, is_signed = "{" + ", ".join(runs) + "}", False
        if is_signed:
            text = {_ANY: plain, _UNSIGNED: f"$unsigned({plain})", _SIGNED: plain}
        else:
            text = {_ANY: plain, _UNSIGNED: plain, _SIGNED: f"$signed({plain})"}
        width = len(bits)
        return Expression(text=text, width=width, natural=width, exact=_UNSIGNED + _SIGNED)

    def _runs(self, bits: list[Bit]) -> list[str]:
        """Return the parts of a concatenation, the highest first."""
        parts: list[str] = []
        at = 0
        while at < len(bits):
            end = at + 1
            bit = bits[at]
            if isinstance(bit, str):
                while end < len(bits) and isinstance(bits[end], str):
                    end += 1
                parts.append(constant(bits[at:end]))
            elif end < len(bits) and bits[end] == bit:
                while end < len(bits) and bits[end] == bit:
                    end += 1
                parts.append(f"{{{end - at}{{{self._slice(bit[0], bit[1], bit[1])}}}}}")
            else:
                while end < len(bits) and bits[end] == (bit[0], bit[1] + end - at):
                    end += 1
                parts.append(self._part(bits[at:end]))
            at = end
        return list(reversed(parts))

    def _part(self, bits: list[Bit]) -> str:
        """Return one run of bits of one wire inside a concatenation."""
        inner = self._whole_maker(bits)
        if inner is not None:
            found = self._fold(inner)
            if found is not None and found.natural == found.width:
                return found.alone()
            self.kept.add(inner)
        name, low = bits[0][0], bits[0][1]
        return self._slice(name, int(low), int(low) + len(bits) - 1)

    def _slice(self, name: str, low: int, high: int) -> str:
        self.kept.add(name)
        text, width = self._names[name], self._wires[name].width
        if low == 0 and high == width - 1:
            return text
        return f"{text}[{high}]" if low == high else f"{text}[{high}:{low}]"

    # Operators

    def cell(self, cell: Cell) -> Expression | None:
        """Return the expression of a cell; None where it is no operator."""
        kind = cell.kind
        if kind in {"$add", "$sub", "$mul", "$and", "$or", "$xor"}:
            return self._arithmetic(cell)
        if kind in _COMPARISONS:
            return self._comparison(cell)
        if kind in {"$not", "$neg"}:
            return self._unary(cell)
        if kind in _REDUCTIONS:
            return self._reduction(cell)
        if kind == "$mux":
            return self._mux(cell)
        if kind in {"$shl", "$shr", "$sshr"}:
            return self._shift(cell)
        if kind in {"$divfloor", "$modfloor"} and not cell.number("A_SIGNED"):
            return self._division(cell)
        return None

    def _isolated(self, text: str, symbol: str) -> Expression:
        """Return an expression of one bit on which its surroundings have no influence."""
        signed = {_ANY: text, _UNSIGNED: text, _SIGNED: f"$signed({text})"}
        return Expression(text=signed, width=1, natural=1, exact=_UNSIGNED + _SIGNED, symbol=symbol)

    def _together(
        self, operands: list[list[Bit]], width: int, signed: bool, *, strict: bool = False
    ) -> tuple[list[Expression], str]:
        """Return operands that share a width and a signedness, and the mode they agree on.

        With `strict` the signedness counts even where nothing is extended.
        """
        way = _SIGNED if signed else _UNSIGNED
        shown = []
        for bits in operands:
            if is_constant(bits) and len(bits) < width:
                fill = bits[-1] if signed else "0"
                bits = [*bits, *[fill] * (width - len(bits))]
            elif not is_constant(bits):
                bits = _shortened(bits, signed)
            shown.append(bits)
        mode = way if strict or any(len(bits) < width for bits in shown) else _ANY
        parts = []
        for bits in shown:
            part = self.operand(bits)
            wide = len(bits) == width or way in part.exact
            if not wide or part.natural > width or (part.mode and mode and part.mode != mode):
                part = self._leaf(bits, keep=True)
            elif part.mode:
                mode = part.mode
            parts.append(part)
        # a part folded before the mode was known may not agree with it
        parts = [
            part if not part.mode or part.mode == mode else self._leaf(bits, keep=True)
            for part, bits in zip(parts, shown)
        ]
        return parts, mode

    def _join(
        self, parts: list[Expression], build: Callable[[list[str]], str], symbol: str
    ) -> dict[str, str]:
        """Return the text in every mode."""
        found = {}
        for mode in (_ANY, _UNSIGNED, _SIGNED):
            texts = []
            for place, part in enumerate(parts):
                text = part.text[mode]
                chained = place == 0 and part.symbol == symbol and symbol in _CHAINS
                bare = not part.symbol or chained
                texts.append(text if bare else f"({text})")
            found[mode] = build(texts)
        return found

    def _arithmetic(self, cell: Cell) -> Expression:
        a, b = _padded(cell.ports["A"]), _padded(cell.ports["B"])
        width, signed = len(cell.ports["Y"]), bool(cell.number("A_SIGNED"))
        symbol = _INFIX[cell.kind]
        if width == 1 and len(a) == len(b) == 1 and symbol in "&|":
            sides = [self._alone_part(bits) for bits in (a, b)]
            double = symbol * 2
            text = self._join(sides, lambda t: f"{t[0]} {double} {t[1]}", double)
            return self._isolated(text[_ANY], double)
        (left, right), mode = self._together([a, b], width, signed)
        text = self._join([left, right], lambda t: f"{t[0]} {symbol} {t[1]}", symbol)
        way = _SIGNED if signed else _UNSIGNED
        both = way in left.exact and way in right.exact
        most = max(left.width, right.width)
        enough = {
            "$add": width > most, "$sub": signed and width > most,
            "$mul": width >= left.width + right.width,
        }.get(cell.kind, True)  # fmt: skip
        return Expression(
            text=text, width=width, natural=max(left.natural, right.natural), mode=mode,
            exact=way if both and enough and mode in (_ANY, way) else "", symbol=symbol,
        )  # fmt: skip

    def _alone_part(self, bits: list[Bit]) -> Expression:
        found = self.operand(bits)
        if found.natural != found.width or found.mode:
            found = self._leaf(bits, keep=True)
        return found

    def _comparison(self, cell: Cell) -> Expression:
        a, b = _padded(cell.ports["A"]), _padded(cell.ports["B"])
        width, signed = max(len(a), len(b)), bool(cell.number("A_SIGNED"))
        if width == 1 and cell.kind in {"$eq", "$ne"} and (is_constant(a) or is_constant(b)):
            value, other = (a, b) if is_constant(a) else (b, a)
            part = self._alone_part(other)
            if (value[0] == "1") == (cell.kind == "$eq"):
                return part
            return self._isolated(self._join([part], lambda t: f"!{t[0]}", "!")[_ANY], "")
        strict = cell.kind not in {"$eq", "$ne"}
        parts, mode = self._together([a, b], width, signed, strict=strict)
        if max(part.natural for part in parts) < max(part.width for part in parts):
            for bits in (a, b):  # nothing would give a sum room for its carry
                for name in {bit[0] for bit in bits if isinstance(bit, tuple)}:
                    self.kept.add(name)
            parts, mode = self._together([a, b], width, signed, strict=strict)
        symbol = _INFIX[cell.kind]
        text = self._join(parts, lambda t: f"{t[0]} {symbol} {t[1]}", symbol)
        return self._isolated(text[mode], symbol)

    def _unary(self, cell: Cell) -> Expression:
        a, width = _padded(cell.ports["A"]), len(cell.ports["Y"])
        if cell.kind == "$not" and width == 1 and len(a) == 1:
            part = self._alone_part(a)
            return self._isolated(self._join([part], lambda t: f"!{t[0]}", "!")[_ANY], "")
        symbol = "~" if cell.kind == "$not" else "-"
        parts, mode = self._together([a], width, bool(cell.number("A_SIGNED")))
        text = self._join(parts, lambda t: f"{symbol}{t[0]}", symbol)
        return Expression(
            text=text, width=width, natural=parts[0].natural, mode=mode, symbol=symbol
        )

    def _reduction(self, cell: Cell) -> Expression:
        a = _padded(cell.ports["A"])
        if len(a) == 1:
            return self._alone_part(a)
        inner = self.alone(a)
        symbol = _REDUCTIONS[cell.kind]
        text = f"{symbol}{inner}" if _PRIMARY.match(inner) else f"{symbol}({inner})"
        return self._isolated(text, symbol + "r")

    def _mux(self, cell: Cell) -> Expression:
        width = len(cell.ports["Y"])
        test = self._alone_part(cell.ports["S"])
        (no, yes), mode = self._together([cell.ports["A"], cell.ports["B"]], width, False)
        head = f"({test.text[_ANY]})" if test.symbol else test.text[_ANY]
        text = self._join([yes, no], lambda t: f"{head} ? {t[0]} : {t[1]}", "?:")
        both = "".join(way for way in _UNSIGNED + _SIGNED if way in yes.exact and way in no.exact)
        return Expression(
            text=text, width=width, natural=max(yes.natural, no.natural), mode=mode,
            exact=both if not mode else both if both == mode else "", symbol="?:",
        )  # fmt: skip

    def _pick(self, cell: Cell) -> Expression | None:
        """Return a right shift of which a few bits are read as a part select, ``a[3 * i +: 3]``.

        None where the part might lie outside: Verilog reads unknown bits there.
        """
        a, b = list(cell.ports["A"]), _padded(cell.ports["B"])
        width = len(cell.ports["Y"])
        first = b[0]
        product = self._makers.get(first[0]) if isinstance(first, tuple) else None
        highest, factor = (1 << len(b)) - 1, 0
        if product is not None and product.kind == "$mul" and b == product.ports["Y"]:
            times = product.ports["B"]
            if is_constant(times) and not product.number("A_SIGNED"):
                most = (1 << len(product.ports["A"])) - 1
                factor = int("".join(map(str, reversed(times))), 2)
                highest = min(highest, most * factor)
        beyond = highest + width - len(a)
        if is_constant(b) or beyond > len(a) or len(a) < 2:
            return None
        a += ["0"] * max(beyond, 0)
        runs = self._runs(a)
        plain = len(runs) == 1 and runs[0].isidentifier()
        name = runs[0] if plain else self.helpers.setdefault(tuple(a), "")
        if not name:
            result = self._names[str(cell.ports["Y"][0][0])]
            name = self._name(f"{result}_items")
            self.helpers[tuple(a)] = name
        amount = self.index(b)
        room = (len(a) - 1).bit_length()
        if (
            product is not None and factor and highest >> room == 0
        ):  # in no more bits than name every item
            amount = f"{self.alone(list(product.ports['A']))} * {room}'d{factor}"
        text = f"{name}[{amount}]" if width == 1 else f"{name}[{amount} +: {width}]"
        signed = {_ANY: text, _UNSIGNED: text, _SIGNED: f"$signed({text})"}
        return Expression(text=signed, width=width, natural=width, exact=_UNSIGNED + _SIGNED)

    def _shift(self, cell: Cell) -> Expression:
        a, width = _padded(cell.ports["A"]), len(cell.ports["Y"])
        if cell.kind == "$shr" and len(a) > width and not cell.number("A_SIGNED"):
            found = self._pick(cell)
            if found is not None:
                return found
        signed = bool(cell.number("A_SIGNED"))
        amount = self.alone(_padded(cell.ports["B"]))
        if not _PRIMARY.match(amount):
            amount = f"({amount})"
        a = a if is_constant(a) else _shortened(a, signed)
        symbol = "<<" if cell.kind == "$shl" else ">>>" if signed else ">>"
        strict = symbol == ">>>"
        (part,), mode = self._together([a], max(width, len(a)), signed, strict=strict)
        text = self._join([part], lambda t: f"{t[0]} {symbol} {amount}", symbol)
        natural = max(part.natural, len(a)) if len(a) > width else part.natural
        return Expression(text=text, width=width, natural=natural, mode=mode, symbol=symbol)

    def _division(self, cell: Cell) -> Expression:
        a, b = _padded(cell.ports["A"]), _padded(cell.ports["B"])
        width = len(cell.ports["Y"])
        symbol = "/" if cell.kind == "$divfloor" else "%"
        parts, mode = self._together([a, b], max(width, len(a), len(b)), False, strict=True)
        text = self._join(parts, lambda t: f"{t[0]} {symbol} {t[1]}", symbol)
        natural = max(part.natural for part in parts)
        widest = max(len(a), len(b))
        natural = max(natural, widest) if widest > width else natural
        return Expression(text=text, width=width, natural=natural, mode=mode, symbol=symbol)


def _shortened(bits: list[Bit], signed: bool) -> list[Bit]:
    """Return an operand without the upper bits that extending it brings back."""
    end = len(bits)
    while end > 1 and (bits[end - 1] == bits[end - 2] if signed else bits[end - 1] == "0"):
        end -= 1
    return bits[:end]


def _padded(bits: list[Bit]) -> list[Bit]:
    """Return an operand of at least one bit; Amaranth writes a plain 0 as none."""
    return bits or ["0"]
