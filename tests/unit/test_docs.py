"""The documents speak of what is there: links, paths, the table of layers, the picture, the examples."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`((?:gateway|docs|tests|scripts|examples|bench|fuzz)/[\w./*-]*)`")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_that_are_named_exist(page: Path) -> None:
    for path in _PATH.findall(prose(page)):
        assert list(ROOT.glob(path.rstrip("/").replace("NAME", "*"))), path
        assert not path.endswith("/") or (ROOT / path).is_dir(), path


def layer_rows() -> list[tuple[int, list[str]]]:
    rows = re.findall(r"^\| (\d) \| ([^|]*) \|", ARCHITECTURE, re.MULTILINE)
    return [(int(layer), re.findall(r"`([^`]+)`", paths)) for layer, paths in rows]


def test_every_module_stands_in_exactly_one_row_of_the_layers() -> None:
    told = [path for _, paths in layer_rows() for path in paths]
    suffixes = {".py", ".pyx", ".h"}
    modules = [p for p in (ROOT / "gateway").rglob("*") if p.suffix in suffixes and "demo" not in p.parts]
    places = Counter[str]()
    for module in modules:
        name = name_of(module)
        places[name] = sum(name == path or (path.endswith("/") and name.startswith(path)) for path in told)
    assert {name: count for name, count in places.items() if count != 1} == {}


def test_layers_go_down_from_row_to_row() -> None:
    layers = [layer for layer, _ in layer_rows()]
    assert layers == sorted(layers, reverse=True)
    assert set(layers) == set(range(7))


def test_states_of_a_connection_are_those_of_the_code() -> None:
    source = (ROOT / "gateway" / "connection" / "_ending.pxd").read_text()
    states = re.search(r"^cdef enum:\n((?:    [A-Z]+ = \d .*\n|    [A-Z]+ = \d\n)+)", source, re.MULTILINE)
    picture = re.search(r"^stateDiagram-v2\n(.*?)^```", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    assert states is not None
    assert picture is not None
    arrows = re.findall(r"^    (\S+) --> (\w+|\[\*\])", picture[1], re.MULTILINE)
    assert {state for arrow in arrows for state in arrow} - {"[*]"} == set(re.findall(r"[A-Z]+", states[1]))


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=name_of)
def test_picture_is_well_formed_described_and_loads_nothing(picture: Path) -> None:
    text = picture.read_text()
    root = ElementTree.fromstring(text)  # noqa: S314 our own file
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert {"title", "desc"} <= names
    assert not {"image", "script", "foreignObject"} & names
    assert text.count("://") == 1, "only the name of its namespace"


def test_readme_shows_the_embedding_example_as_it_is() -> None:
    shown = re.search(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1] == (ROOT / "examples" / "embedding.py").read_text()


@pytest.mark.parametrize("folder", ["docs", "docs/decisions"])
def test_index_names_every_page(folder: str) -> None:
    index = (ROOT / folder / "README.md").read_text()
    pages = {page.name for page in (ROOT / folder).glob("*.md")} - {"README.md"}
    assert pages <= set(_LINK.findall(index))
