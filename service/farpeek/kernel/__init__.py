"""What the kernel offers: its calls, what a pidfd tells, and why it refuses."""
