"""Versions: of this package, and of the libraries that values depend on."""

from collections.abc import Sequence
from contextlib import suppress

RECORDED = ("torch", "torchvision", "pyiqa", "spandrel", "diffusers", "numpy", "pillow")


def package_version() -> str:
    return versions(())["cassr-bench"]


def versions(names: Sequence[str] = RECORDED) -> dict[str, str]:
    """Of this harness and of libraries, by default those that values depend on, as far as they are
    installed."""
    # Importing it takes longer than all else that `--help` needs.
    from importlib.metadata import PackageNotFoundError, version

    found = {"cassr-bench": "0+unknown"}  # of a source tree that is not installed
    for name in ("cassr-bench", *names):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
