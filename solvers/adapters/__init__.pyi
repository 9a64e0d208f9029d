from .command import Command as Command
