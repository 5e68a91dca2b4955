"""A gateway for GDB's remote serial protocol: a client of the API, beside the debugger."""
