"""Peers run side by side, each by its own Python, which is named when one is there."""
