"""Surrogate models of expensive simulations that build themselves.

Everything is imported on first use: torch and GPyTorch take seconds, and settings and help pages need neither.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
