"""The version of the installed package."""

from __future__ import annotations


def package_version() -> str:
    # Importing importlib.metadata takes longer than all else that `--help` needs.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cassr-bench")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"
