"""The web page, as files, and what serves them."""
