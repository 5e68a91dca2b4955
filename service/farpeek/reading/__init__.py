"""Reads on their way from the loop through a thread and back."""
