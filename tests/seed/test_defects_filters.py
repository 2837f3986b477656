"""Defects of the seed's filters, `tp-lexer` and its filter file, that do not come back.

Each test names the place where the defect was. What filters mean is shown beside them, against `tp-lexer` and Linux.
"""

from __future__ import annotations

import pytest
from axebpf import Bench, FieldError, FilterError, Tracepoint, i32, u64
from axebpf.bench import TracepointHandle
from axebpf.filters import Filter


class Counted(Tracepoint, name="own:counted", id=310):
    """A field whose numbers reach beyond 63 bits, and one that is signed."""

    count: u64
    balance: i32


@pytest.fixture
def counted() -> TracepointHandle:
    """Such a tracepoint, which has a filter."""
    handle = Bench().define(Counted)
    handle.filter = "count == 7"
    return handle


def test_an_empty_filter_is_an_error(counted: TracepointHandle) -> None:
    """TraceFilterFile::write: an empty text panicked."""
    with pytest.raises(FilterError, match="the filter is empty"):
        counted.filter = ""


@pytest.mark.parametrize("text", ["0x10", "0 junk", "00", "0 && count == 1"])
def test_a_text_that_begins_with_0_clears_nothing(counted: TracepointHandle, text: str) -> None:
    """TraceFilterFile::write: any text that began with 0 cleared the filter."""
    with pytest.raises(FilterError):
        counted.filter = text
    assert counted.filter == "count == 7"
    counted.filter = "0"
    assert counted.filter is None


def test_a_wrong_filter_leaves_the_old_one_and_shows_itself(counted: TracepointHandle) -> None:
    """TraceFilterFile::write: an error took the old filter away, and its text did not show the expression."""
    with pytest.raises(FilterError, match=r"no field balace; did you mean balance\?\n  balace == 1\n  \^"):
        counted.filter = "balace == 1"
    assert counted.filter == "count == 7"


def test_numbers_of_64_bits_are_not_negative() -> None:
    """tp-lexer: a u64 was compared as i64, and a literal above that was refused."""
    counts = [0, 2**63 - 1, 2**63, 2**64 - 1]
    assert Filter(Counted, "count > 0").mask(count=counts).tolist() == [False, True, True, True]
    assert Filter(Counted, "count == 18446744073709551615").mask(count=counts).tolist() == [False, False, False, True]


def test_there_are_negative_numbers() -> None:
    """tp-lexer: no literal had a sign."""
    assert Filter(Counted, "balance < -10").mask(balance=[-11, -10, 11]).tolist() == [True, False, False]


def test_a_pattern_takes_no_exponential_time() -> None:
    """tp-lexer: seven stars before a letter that is not there took seconds on 64 letters, and each more far longer."""
    stars = Filter(Counted, "comm ~ '" + "*a" * 100 + "*b'")
    assert not stars.mask(count=[0] * 1000, comm="a" * 15).any()


def test_depth_overflows_no_stack() -> None:
    """tp-lexer: 200,000 parentheses aborted the process."""
    text = "(" * 200_000 + "count == 1" + ")" * 200_000
    assert Filter(Counted, text).mask(count=[1, 2]).tolist() == [True, False]


def test_a_record_without_the_field_does_not_pass() -> None:
    """tp-lexer: a buffer that ended before the field passed any filter on it."""
    with pytest.raises(FieldError, match="not 10"):
        Filter(Counted, "count == 1").matches(bytes(10))
