"""The built-in benchmark problems."""
