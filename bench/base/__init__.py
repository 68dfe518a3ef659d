"""What every room uses and what uses none of them: errors, text, records, cards."""
