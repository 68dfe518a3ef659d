"""The harness: datasets, methods, metrics, scores and reports of real-world super-resolution."""


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(name)
    # Importing importlib.metadata takes longer than all else that `--help` needs.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cassr-bench")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"
