"""The harness: datasets, methods, metrics, scores and reports of real-world super-resolution."""


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(name)
    from bench.base.version import package_version

    return package_version()
