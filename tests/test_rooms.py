"""The rooms of the code and their floors: every import goes down, none in a circle."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from itertools import chain

import pytest
from conftest import ROOT

FLOORS = [
    list(floor) for floor in tomllib.loads((ROOT / "docs" / "rooms.toml").read_text())["floor"]
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MOST_MODULES = 14
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for top in ("bench", "cassr", "baselines")
    for file in sorted((ROOT / top).rglob("*.py"))
}


def room_of(module: str) -> str:
    return ".".join(FILES[module].parent.relative_to(ROOT).parts)


def imports(module: str) -> Iterator[str]:
    """Modules of ours that one imports anywhere in it: in functions and for types too."""
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names = [node.module or ""]
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        # Of a package and a module in it, the module is what is meant.
        found = [name for name in names if name in FILES]
        yield from (n for n in found if not any(o.startswith(f"{n}.") for o in found))


@cache
def graph() -> dict[str, set[str]]:
    """All modules and what they import."""
    return {module: set(imports(module)) - {module} for module in FILES}


def test_every_room_has_its_floor_and_every_floor_its_rooms() -> None:
    assert {room_of(module) for module in FILES} == set(FLOOR)
    assert len(FLOOR) == len(list(chain(*FLOORS)))
    assert len(FLOORS) <= 9


@pytest.mark.parametrize("room", FLOOR)
def test_a_room_imports_from_below_only(room: str) -> None:
    climbs = [
        f"{module} -> {target}"
        for module, targets in graph().items()
        if room_of(module) == room
        for target in targets
        if room_of(target) != room and FLOOR[room_of(target)] >= FLOOR[room]
    ]
    assert climbs == []


def test_no_module_imports_itself_by_a_detour() -> None:
    list(TopologicalSorter(graph()).static_order())  # a circle raises CycleError


@pytest.mark.parametrize("room", FLOOR)
def test_a_room_can_be_looked_over(room: str) -> None:
    modules = [m for m in FILES if room_of(m) == room and FILES[m].name != "__init__.py"]
    assert len(modules) <= MOST_MODULES


def test_the_model_and_the_harness_know_nothing_of_each_other() -> None:
    for module, targets in graph().items():
        tops = {target.partition(".")[0] for target in targets}
        if module.startswith("cassr"):
            assert tops <= {"cassr"}, module
        elif module.startswith("bench") and room_of(module) != "bench.commands.train":
            assert tops <= {"bench"}, module
