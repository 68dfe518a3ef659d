"""From noise to an image: schedules, tiles, the VAE, colour."""
