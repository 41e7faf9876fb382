"""Private counts over HTTP: a thin shell over operations, and the only room that knows FastAPI."""
