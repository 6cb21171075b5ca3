"""Signed digits: weights recoded so that fewer places of a group's columns take a cycle.

Models:  the aligned magnitude x of each weight, bits that no lane keeps dropped, recoded in
         non-adjacent form with one carry chain: with h = x >> 1 and s = x + h,

             a digit stands at place k  where bit k of s xor h is set,
             it is +1                   where bit k of s is, and h's is not,
             it is −1                   where bit k of h is, and s's is not.

         x may be the largest magnitude of its lanes, so the digits need one lane more.
         ``signed``: a lane per place. ``split``: the same digits, and the lowest place has two
         lanes, one for the group's even and one for its odd weights.
Ignores: time (`_bits`, `_cycles`) and the circuit's carry chain (`circuit`).
Judge:   Python integers, digit by digit (tests/accel/bitlet/test_digits.py).
Source:  Reitwiesner, Binary Arithmetic, Advances in Computers 1, 1960, for the form and its least
         weight. That a bit-interleaving engine pops them is an addition of ours, not published.

The value does not change
-------------------------
s = x + (x >> 1) = (3x) >> 1, because the lowest bit of 3x is that of x. Bit k of s minus bit k of
h, weighted and added up, is Σ 2^k (s_k − h_k) = s − h = x, so the digits stand for x itself. A
lane adds d_k · 2^k · a to the accumulator, where a is the sign-folded activation, so a weight
adds x · a whatever its digits are, which is what its bits add: exponents, shifts, truncation,
specials, accumulator and packed result of every group are those of the plain engine, bit for bit
and in either mode. Dropped bits are dropped *before* recoding (recoding first and dropping low
digits would round instead of truncate, another value).
No width overflows. One pass adds at most Σ_{k ≤ m} 2^k < 2^(m+1) activations' worth, m the bits of
a magnitude, hence less than 2^(2m+1) for activations of m bits: the tree of 2m + 4 bits holds it.
After any number of passes the lanes stand at different places, but what a weight has added is at
most Σ |d_k| 2^k < 2^(m+1) activations, so n weights stay below n · 2^(2m+1), and 2m + 16 bits hold
groups of 2^14. An activation and its negative must both fit: at 24 bits fixed point the released
engine's 25 bits do not hold 2^24, so the lanes of the circuit get a bit more.

What no recoding can do
-----------------------
With digits −1, 0 and 1, x is odd exactly if the digit at place 0 is not zero: modulo 2 both are
the same number. So the lowest lane of *any* such recoding pops one digit for every odd weight of
the group, about half of them, and no choice of digits passes that floor; `floor_cycles` is this
bound, with the two others: all digits spread evenly over the lanes (the form has the least), and
a window's width a cycle. Only a second lane at place 0 passes it, which is what ``split`` is.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: ``plain``: the bits of magnitudes, as published.
Digits = Literal["plain", "signed", "split"]
DIGITS: tuple[Digits, ...] = ("plain", "signed", "split")


def digit_lanes(lanes: int, digits: Digits) -> int:
    """Return how many lanes an engine has whose kept magnitudes have so many bits."""
    return lanes + DIGITS.index(digits)


def recoded(magnitudes: Any) -> tuple[Array, Array]:
    """Return the places of digits +1 and of digits −1, a bit each.

    Parameters
    ----------
    magnitudes : integers from 0 to 2^30

    >>> tuple(int(word[0]) for word in recoded([7]))
    (8, 1)
    """
    x = np.asarray(magnitudes, np.int64)
    half = x >> 1
    total = x + half
    return total & ~half, half & ~total


def lane_words(magnitudes: Any, mask: int, lanes: int, digits: Digits, group: int) -> Array:
    """Return words whose bit k says whether lane k pops something for a weight.

    Parameters
    ----------
    magnitudes : (rows, terms), aligned; the terms are cut into groups
    mask : bits that are kept
    lanes : bits of a magnitude; ``split`` has its second lowest lane at bit `lanes` + 1
    group : weights of a group
    """
    kept = np.asarray(magnitudes, np.int64) & mask
    if digits == "plain":
        bits: Array = kept.astype(np.int32)
        return bits
    half = kept >> 1
    words = (kept + half) ^ half
    if digits == "split":
        low = mask & -mask
        odd = np.arange(kept.shape[-1]) % group % 2 == 1
        moved = np.where(odd & (words & low != 0), low | (1 << (lanes + 1)), 0)
        words ^= moved
    popped: Array = words.astype(np.int32)
    return popped


def running_lanes(mask: int, lanes: int, digits: Digits) -> int:
    """Return which lanes run, one bit each, as `lane_words` numbers them."""
    if digits == "plain":
        return mask
    low = (mask & -mask).bit_length() - 1
    places = (1 << (mask.bit_length() + 1)) - (1 << low)
    return places | (1 << (lanes + 1) if digits == "split" else 0)


def lane_places(lowest: int, lanes: int, digits: Digits) -> tuple[int, ...]:
    """Return the significance of every lane for kept bits from `lowest` on, in order of lanes."""
    places = tuple(range(lowest, lowest + digit_lanes(lanes, digits) - (digits == "split")))
    return (*places, lowest) if digits == "split" else places


def digit_sums(magnitudes: Any, folded: Any, digits: Digits) -> Array:
    """Return Σ magnitude · activation of every group, lane by lane from the digits.

    Parameters
    ----------
    magnitudes, folded : (groups, n): aligned and kept magnitudes, sign-folded activations
    """
    x, a = np.asarray(magnitudes, np.int64), np.asarray(folded, np.int64)
    plus, minus = (x, np.zeros_like(x)) if digits == "plain" else recoded(x)
    total = np.zeros(len(x), np.int64)
    for place in range(int((plus | minus).max(initial=0)).bit_length()):
        digit = (plus >> place & 1) - (minus >> place & 1)
        total += (digit * a).sum(1) << place
    return total


def digit_shares(ones: Any) -> Array:
    """Return the share of weights with a digit at each place, from those with a one; one more.

    The bits of a weight are taken as independent; the carry is a Markov chain over the places.

    Parameters
    ----------
    ones : share of ones per place, the *lowest* first, shape (places, …)
    """
    p = np.asarray(ones, np.float64)
    padded = np.concatenate([p, np.zeros((2, *p.shape[1:]))])
    found = np.empty((len(p) + 1, *p.shape[1:]))
    # chance[c, b]: the carry into this place is c and its bit is b.
    chance = np.zeros((2, 2, *p.shape[1:]))
    chance[0, 0], chance[0, 1] = 1 - padded[0], padded[0]
    for place in range(len(p) + 1):
        found[place] = chance[0, 1] + chance[1, 0]
        up = padded[place + 1]
        carry_if_one = chance[0, 1] + chance[1, 0] + chance[1, 1]
        carry_if_zero = chance[1, 1]
        following = np.empty_like(chance)
        following[1, 1] = up * carry_if_one
        following[0, 1] = up * chance[0, 0]
        following[1, 0] = (1 - up) * carry_if_zero
        following[0, 0] = (1 - up) * (1 - carry_if_zero)
        chance = following
    return found


def floor_cycles(magnitudes: Any, lanes: int, group: int, window: int) -> Array:
    """Return fewer cycles than which no recoding with digits −1, 0 and 1 takes, a lane a place.

    Parameters
    ----------
    magnitudes : (rows, terms), aligned, cut into groups as the engine cuts them
    lanes : places of the recoding
    """
    x = np.asarray(magnitudes, np.int64)
    terms = x.shape[1]
    starts = np.arange(0, terms, group)
    plus, minus = recoded(x)
    odd = np.add.reduceat(x & 1, starts, axis=1)
    weight = np.add.reduceat(np.bitwise_count(plus | minus).astype(np.int64), starts, axis=1)
    sizes = np.diff([*starts, terms])
    floor: Array = np.maximum(np.maximum(odd, -(-weight // lanes)), -(-sizes // window))
    return floor
