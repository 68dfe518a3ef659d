"""What every part of the model and its training uses."""
