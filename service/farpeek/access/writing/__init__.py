"""The ways to write another process's memory."""
