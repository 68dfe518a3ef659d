"""The command that trains, and `cut`."""
