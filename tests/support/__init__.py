"""What the tests need from the world: target processes, namespaces, other users, a real service."""
