"""A suite from cards to results: plan, upscale, score, collect; and each step alone."""
