"""The search for k, t and the quorum, written from the appendix of docs/protocol.md alone; see `independent_device`."""

from __future__ import annotations

from decimal import Context, Decimal
from functools import cache
from itertools import accumulate
from math import comb

ONE = 2**128  # probabilities are in units of 2^-128
NEVER = -(2**70)
FORTY = Context(prec=40)


def neighbours(n: int, c: int, floor: int) -> tuple[int, int, int]:
    """k, t and q (section 7)."""
    majority = (n + c) // 2 + 1
    if n > 100:
        for k in range(1, n // 2):
            found = threshold_and_strays(n, c, floor, max(floor, majority), k)
            if found is not None:
                return k, found[0], max(floor + found[1], majority)
    return n, majority, max(floor, majority)


def threshold_and_strays(n: int, c: int, floor: int, q: int, k: int) -> tuple[int, int] | None:
    ways = [comb(c, j) * comb(n - 1 - c, k - j) for j in range(min(k, c), -1, -1)]  # the most colluders first
    within = sum(n * 2**41 * total <= comb(n - 1, k) for total in accumulate(ways))
    least = max(min(k, c) + 1 - within, 1)
    ways = [comb(q - 1, j) * comb(n - q, k - j) for j in range(k)]
    most = sum(n * 2**20 * total <= comb(n - 1, k) for total in accumulate(ways))
    if least > most:
        return None
    t = min(max(least, (k + 1) // 2), most)

    m, r, few = n - c, n - q, max(n // 20, 1)

    def left(z: int) -> int:
        everything, none = comb(n - 1, k), comb(n - 1 - z, k)
        some = everything - none
        if r * everything >= (m - z) * some:
            return ONE
        tail = log(r + 1) + choose(m - z, r) + r * (log(some) - log(everything))
        return probability(choose(m, z) + tail + (m - z - r) * (log(max(none, 1)) - log(everything)))

    def helped(p: int) -> int:
        g = c + p - 1
        x = max(t, (k + 1) * (g + 1) // (n + 1))
        one = log(k - t + 1) + choose(g, x) + choose(n - 1 - g, k - x) - choose(n - 1, k)
        return probability(choose(m, p) + p * min(0, one))

    def closed(p: int) -> int:
        a = max(few + 1, m - p - r)
        apart = p * (choose(n - 1 - a, k) - choose(n - 1, k))
        return probability(choose(m, p) + choose(m - p, a) + apart)

    strays = total = 0
    for z in range(few, 0, -1):
        total += left(z)
        if 2**42 * total > ONE:
            strays = z
            break
    if strays > min(n // 100, (n - floor) // 8):
        return None
    separated = sum(min(helped(p), closed(p)) for p in range(2, m - few))
    return (t, strays) if 2**42 * separated <= ONE else None


@cache
def log(x: int) -> int:
    quotient = FORTY.divide(FORTY.create_decimal(x).ln(FORTY), Decimal(2).ln(FORTY))
    return int(FORTY.multiply(quotient, Decimal(2**40)))


@cache
def factorials() -> list[int]:
    return list(accumulate(map(log, range(1, 1001)), initial=0))


def choose(a: int, b: int) -> int:
    of = factorials()
    return of[a] - of[b] - of[a - b] if 0 <= b <= a else NEVER


def probability(e: int) -> int:
    w, f = divmod(min(e + 2**34, 0), 2**40)
    return ((2**40 + f) * ONE // 2 ** min(-w, 1024)) // 2**40 + 1
