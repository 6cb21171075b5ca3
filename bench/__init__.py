"""Speed and memory, measured as whole commands where a user would feel them.

``python -m bench`` runs everything and writes ``bench/results/<date>-<machine>.json``;
``python -m bench startup`` runs one. No test asserts a time; figures out of reach are recorded as
missed, with what forbids them.
"""
