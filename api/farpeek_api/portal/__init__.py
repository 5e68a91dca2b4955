"""The HTTP API of a whole fleet: the gate of the service in front of nodes that NATS reaches."""
