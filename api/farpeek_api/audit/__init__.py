"""Who did what, line by line, each of which vouches for the one before."""
