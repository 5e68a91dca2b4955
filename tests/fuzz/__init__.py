"""What others send, write or choose, at random; each target is a function of bytes with laws."""
