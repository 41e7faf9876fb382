"""The service over HTTP, as a process of its own."""
