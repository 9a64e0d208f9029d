"""The command line interface: the command `mlasdi`."""
