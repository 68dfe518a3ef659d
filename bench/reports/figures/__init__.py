"""Plots and picture panels."""
