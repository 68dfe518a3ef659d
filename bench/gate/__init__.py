"""Judge what was measured against a reference."""
