"""Mappings of a process, the files behind them, and which of their pages are in memory."""
