"""The command line, whose trainings scale their networks by few images: most of a short run."""

import cassr.training.train
from bench.cli import main

FIRST_IMAGES = 48

if __name__ == "__main__":
    cassr.training.train.FIRST_IMAGES = FIRST_IMAGES
    main()
