"""Remote memory access for Linux: usable as a library, and what the farpeek service runs on."""

__version__ = "0.1.0"
