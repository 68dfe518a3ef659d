"""The command that trains, and `cut`; the words of `train` are in options.toml."""

from functools import partial

from bench.commands.shared import options

told = partial(options.told, of=__name__)
