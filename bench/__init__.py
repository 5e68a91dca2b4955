"""Figures about farpeek, each a ratio against a floor measured beside it in the same run."""
