"""Draws architecture.png, the rooms and imports: `python docs/figures/draw_architecture.py`."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COLOURS = {"bench": "#dfe5ee", "cassr": "#fbd9b5", "baselines": "#d9ead3"}
EDGE, ARROW = "#30363f", "#8a93a0"
WIDTH, HEIGHT, RISE = 1.7, 0.5, 1.15

Place = tuple[float, float]


def floors() -> list[dict[str, str]]:
    return tomllib.loads((ROOT / "docs" / "rooms.toml").read_text(encoding="utf-8"))["floor"]


def places(rooms: list[dict[str, str]]) -> dict[str, Place]:
    """Middle of each room."""
    return {
        name: ((i - (len(floor) - 1) / 2) * (WIDTH + 0.35), number * RISE)
        for number, floor in enumerate(rooms)
        for i, name in enumerate(floor)
    }


def arrows(names: set[str]) -> set[tuple[str, str]]:
    """(room, room it imports from), without what every room of its package imports."""
    found = set()
    for top in COLOURS:
        for file in (ROOT / top).rglob("*.py"):
            room = ".".join(file.parent.relative_to(ROOT).parts)
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    targets = [f"{node.module}.{alias.name}" for alias in node.names]
                    found |= {(room, _room(target, names)) for target in targets}
    return {(a, b) for a, b in found if b and a != b and not b.endswith(".base")}


def _room(target: str, names: set[str]) -> str:
    while target and target not in names:
        target = target.rpartition(".")[0]
    return target


def draw(axis: Axes) -> None:
    middles = places(floors())
    for start, end in arrows(set(middles)):
        (x0, y0), (x1, y1) = middles[start], middles[end]
        style = {"arrowstyle": "-|>", "color": ARROW, "lw": 0.6, "alpha": 0.7, "shrinkA": 0}
        heads = (x1, y1 + HEIGHT / 2), (x0, y0 - HEIGHT / 2)
        axis.annotate("", *heads, arrowprops=style, zorder=1)
    for name, (x, y) in middles.items():
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        colour = COLOURS[name.partition(".")[0]]
        box = FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0.03", fc=colour, ec=EDGE, lw=0.8)
        box.set_zorder(2)
        axis.add_patch(box)
        axis.text(x, y, name.replace(".", "/"), ha="center", va="center", fontsize=8, zorder=3)


def main() -> None:
    figure, axis = plt.subplots(figsize=(9.5, 9), layout="constrained")
    draw(axis)
    axis.set_xlim(-4.3, 4.3)
    axis.set_ylim(-0.6, (len(floors()) - 1) * RISE + 0.6)
    axis.axis("off")
    figure.savefig(HERE / "architecture.png", dpi=90)


if __name__ == "__main__":
    main()
