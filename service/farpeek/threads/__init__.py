"""The threads that go into the kernel, and what each target may have of them."""
