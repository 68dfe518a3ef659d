"""Versions: of this package, and of the libraries that values depend on."""

from collections.abc import Sequence

RECORDED = ("torch", "torchvision", "pyiqa", "spandrel", "diffusers", "numpy", "pillow")


def package_version() -> str:
    # Importing importlib.metadata takes longer than all else that `--help` needs.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cassr-bench")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"


def versions(names: Sequence[str] = RECORDED) -> dict[str, str]:
    """Of this harness and of libraries, by default those that values depend on, as far as they are
    installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"cassr-bench": package_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
