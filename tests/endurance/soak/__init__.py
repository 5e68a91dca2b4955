"""A service under all that clients and targets do at once, and a model that knows what is right."""
