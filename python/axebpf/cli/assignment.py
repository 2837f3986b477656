"""`NAME=VALUE`, as options take it."""

from __future__ import annotations

import typer

__all__ = ["split"]


def split(text: str, *, option: str, example: str) -> tuple[str, str]:
    """Name and value, without the blanks round them. Raises BadParameter, which shows the example.

    >>> split("rate = 5000", option="--param", example="rate=5000")
    ('rate', '5000')
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE, as in {example}", param_hint=option)
    return name, value
