"""The WebSocket: many small reads, and subscriptions."""
