"""One verb a file, in rooms that follow the pipeline; docs/architecture.md shows the order."""
