"""The command `mlasdi`."""
