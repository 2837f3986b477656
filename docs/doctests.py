"""Extension of griffe, which reads docstrings for the reference: doctests in them become code.

Markdown takes the `>>>` of a doctest for a quotation, and brackets in what it prints for a link.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
"""From the first line of a doctest to the next empty one."""


def fenced(docstring: str) -> str:
    """The text with each doctest as a block of code."""
    return _DOCTEST.sub(lambda doctest: f"```pycon\n{doctest[0]}\n```", docstring)


class FencedDoctests(Extension):
    """Fences the doctests of every object that is read."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Changes the docstring of an object that has been read."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
