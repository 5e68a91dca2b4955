"""Symbols of a target's ELF files: out of its memory, and out of the files where they can be had.

All of it is hostile input: whoever wrote the file, or the memory, chose every count and offset.
"""
