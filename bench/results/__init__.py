"""Numbers made from scores: means, intervals, verdicts, comparisons with published tables."""
