"""Compilation of loops by numba, where the compiled code can be kept and where it cannot."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
