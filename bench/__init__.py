"""The harness: datasets, methods, metrics, scores and reports of real-world super-resolution.

Its Python interface is imported when it is first used: see `bench.interface`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.base.errors import BenchError
    from bench.interface import Evaluator, load, metric, run, score, upscale
    from bench.reports.leaderboard import Leaderboard

    __version__: str

__all__ = ["BenchError", "Evaluator", "Leaderboard", "load", "metric", "run", "score", "upscale"]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])


if not TYPE_CHECKING:  # which would make every name known

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from bench.base.version import package_version

            return package_version()
        if name not in __all__:
            raise AttributeError(f"module 'bench' has no attribute {name!r}")
        from importlib import import_module

        place = "bench.base.errors" if name == "BenchError" else "bench.interface"
        return getattr(import_module(place), name)
