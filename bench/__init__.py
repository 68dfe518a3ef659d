"""The harness: datasets, methods, metrics, scores and reports of real-world super-resolution."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cassr-bench")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
