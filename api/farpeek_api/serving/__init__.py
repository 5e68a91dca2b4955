"""The server itself: sockets, settings, the beginning and the end."""
