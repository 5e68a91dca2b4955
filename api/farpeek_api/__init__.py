"""The HTTP service, and the `farpeek` command."""
