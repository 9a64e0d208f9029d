"""Solves as jobs of SLURM, which go on when the agent is stopped."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
