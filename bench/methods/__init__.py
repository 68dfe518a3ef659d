"""Methods by name, and how a method's own repository is installed."""

from bench.methods.own_file import UserMethod

__all__ = ["UserMethod"]  # so the identities of stored images call it
