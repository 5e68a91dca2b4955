"""`farpeek dap`: the memory of processes in an editor, by the Debug Adapter Protocol.

It is a client of the service. Nothing is stopped: what an editor takes for a stop is a sample.
"""
