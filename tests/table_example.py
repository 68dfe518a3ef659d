"""Views and readers of tables."""

from pathlib import Path

import pytest

LAYOUTS = ("methods-as-columns", "methods-as-rows")


@pytest.fixture
def folder_of_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CASSR_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "out"


def shown(folder: Path) -> set[str]:
    """What a folder of reports holds, without our records."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if not path.parts[0].startswith(".")}
