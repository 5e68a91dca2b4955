"""Searching the memory of a target: what for, where, and how it goes on chunk by chunk."""
