"""`farpeek mcp`: the memory of processes for assistants, by the Model Context Protocol.

It is a client of the service and has no rights of its own. Each program is read only after the
person has said yes to it, and nothing can be written.
"""
