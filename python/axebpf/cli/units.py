"""Numbers as a person reads them."""

from __future__ import annotations

__all__ = ["BUCKETS", "duration", "number", "sparkline"]

BUCKETS = ("< 1 µs", "1-10 µs", "10-100 µs", "100 µs-1 ms", "1-10 ms", "10-100 ms", "100 ms-1 s", "≥ 1 s")
"""What each bucket of `Statistics.buckets` takes; each without its upper bound."""

_BLOCKS = " ▁▂▃▄▅▆▇█"


def number(value: int) -> str:
    """With a space at every third digit.

    >>> number(1234567)
    '1 234 567'
    """
    return f"{value:,}".replace(",", " ")


def duration(ns: int) -> str:
    """In the unit that gives one to three digits before the point, three digits in all; exact below 1 µs.

    >>> duration(999), duration(1234), duration(12_345_678), duration(999_999), duration(75 * 10**9)
    ('999 ns', '1.23 µs', '12.3 ms', '1.00 ms', '75.0 s')
    """
    if abs(ns) < 1000:
        return f"{ns} ns"
    unit, scale = next(((u, s) for u, s in (("µs", 10**3), ("ms", 10**6)) if abs(ns) < 999.5 * s), ("s", 10**9))
    value = ns / scale
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals}f} {unit}"


def sparkline(counts: tuple[int, ...] | list[int]) -> str:
    """A row of bars one line high, the largest count full; what is not zero is seen.

    >>> sparkline([0, 1, 50, 100])
    ' ▁▄█'
    """
    largest = max(counts, default=0)
    return "".join(_BLOCKS[-(-count * 8 // largest)] if count else " " for count in counts)
