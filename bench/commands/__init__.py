"""One file per command (or few that belong together); `bench.cli` lists them."""
