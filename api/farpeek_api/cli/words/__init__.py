"""The words of a command line, taken apart: targets, addresses, ranges, lengths."""
