"""The pictures of the example pages are what docs/pictures.py draws, and every page has its picture."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path.stem for path in (DOCS / "examples").glob("*.md") if path.stem != "index")


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    import pictures

    return pictures


def test_each_page_has_a_picture_and_each_picture_a_page(pictures: ModuleType) -> None:
    assert sorted(pictures.PICTURES) == PAGES == sorted(path.stem for path in pictures.FOLDER.glob("*.svg"))
    for page in PAGES:
        text = (DOCS / "examples" / f"{page}.md").read_text()
        assert f"](pictures/{page}.svg)" in text
        assert f'--8<-- "python/axebpf/examples/{page}.bpf.c"' in text
        assert f"examples/{page}.md" in (DOCS.parent / "mkdocs.yml").read_text()


@pytest.mark.parametrize("page", PAGES)
def test_the_picture_is_what_the_script_draws(pictures: ModuleType, page: str) -> None:
    kept = (pictures.FOLDER / f"{page}.svg").read_text()
    made_with = re.search(r"<!-- (.*) -->", kept)
    assert made_with
    if made_with[1] != pictures.made_with():
        pytest.skip(f"drawn by {made_with[1]}; here it would be {pictures.made_with()}")
    assert pictures.PICTURES[page].svg(page) == kept, "run `make pictures`"


def test_pictures_are_small_and_load_nothing_from_elsewhere(pictures: ModuleType) -> None:
    for path in pictures.FOLDER.glob("*.svg"):
        text = path.read_text()
        assert len(text) < 60_000, path.name
        assert set(re.findall(r"https?://[^\"\s]+", text)) == {"http://www.w3.org/2000/svg"}, path.name
