"""A service that is killed under load, again and again, and what becomes of all others."""
