"""Results that leave the machine and come back: exports, imports, differences."""
