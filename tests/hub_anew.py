"""The command line, to which the hub is where HF_ENDPOINT says, as to a Python that starts."""

import importlib

from huggingface_hub import constants

from bench.cli import main

if __name__ == "__main__":
    importlib.reload(constants)
    main()
