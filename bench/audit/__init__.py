"""Recompute what tables and prose of a paper claim."""
