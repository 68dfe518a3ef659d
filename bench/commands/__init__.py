"""One file per command (or few that belong together); `bench.cli` lists them.

A command parses, calls one function of the library and prints what it returns.
"""
