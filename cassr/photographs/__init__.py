"""Training photographs: sets by their cards, crops read from them."""
