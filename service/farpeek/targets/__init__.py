"""Processes that are held: who they are, and what becomes of them."""
