"""The house: arrows run one way, and only one room knows each heavy library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import segmind_jupyter

HOUSE = Path(segmind_jupyter.__file__).parent

#: What each room may import of the house, besides itself and the floor.
MAY_IMPORT = {
    "api": set(),
    "content": set(),
    "notebook": {"api", "content", "asking", "calling", "batch", "chat", "request", "tracked"},
    "simulator": {"api"},
    "tracked": {"api"},
    "connections": {"api"},
    "asking": {"api", "connections", "content", "options", "remembering", "request", "tracked"},
    "options": {"api", "content"},
    "request": {"api", "content"},
    "remembering": {"api", "content", "tracked"},
    "calling": {"api", "content", "asking"},
    "batch": {"api", "content", "asking", "calling"},
    "chat": {"api", "content", "asking", "calling", "remembering", "request"},
    "errors": set(),
    "__init__": {"api", "content", "notebook", "calling", "batch", "chat"},
}

#: Libraries that only these rooms may import.
AT_HOME = {
    "httpx": {"api", "simulator"},
    "IPython": {"notebook", "__init__"},
    "ipywidgets": {"notebook"},
    "traitlets": {"notebook"},
    "PIL": {"content", "simulator"},
    "numpy": set(),
    "pandas": {"batch", "content", "notebook"},
    "matplotlib": {"content"},
}

FILES = sorted(HOUSE.rglob("*.py"))


def imports(path: Path, *, run_time_only: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = type_checking_nodes(tree) if run_time_only else set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def type_checking_nodes(tree: ast.AST) -> set[ast.AST]:
    blocks = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )
    return {inner for block in blocks for inner in ast.walk(block)}


def room(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def rooms_imported(path: Path, *, run_time_only: bool = False) -> set[str]:
    ours = (
        name
        for name in imports(path, run_time_only=run_time_only)
        if name.startswith("segmind_jupyter.")
    )
    return {name.split(".")[1] for name in ours}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_arrows_run_one_way(path):
    """`api` and `content` know nothing of each other or of a room above."""
    allowed = MAY_IMPORT[room(path)] | {room(path), "errors", "__version__"}
    assert rooms_imported(path) <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_heavy_library_is_known_in_its_room_alone(path):
    """So httpx stays in `api`, IPython and ipywidgets in `notebook`."""
    libraries = {name.split(".")[0] for name in imports(path, run_time_only=False)}
    strangers = {
        lib for lib, rooms in AT_HOME.items() if lib in libraries and room(path) not in rooms
    }
    assert strangers == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_the_simulator_takes_types_alone_from_the_api(path):
    """It must not share the code that it is there to check."""
    if room(path) == "simulator":
        assert "api" not in rooms_imported(path, run_time_only=True)


def test_every_room_is_known_here():
    """A new room or module at the top needs its place in the table above."""
    assert {room(path) for path in FILES} == set(MAY_IMPORT)
