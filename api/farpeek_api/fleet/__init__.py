"""Many hosts over NATS: an agent beside each service, which is a client like any other."""
