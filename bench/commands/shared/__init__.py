"""What several commands share: options, and how results and progress are told."""
