"""The command line interface: the command `mlasdi`, and its commands about campaigns."""
