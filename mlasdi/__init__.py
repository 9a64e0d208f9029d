"""Surrogate models of expensive simulations that build themselves.

Names are imported on first use: torch and GPyTorch take seconds, and settings and help pages need neither.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("mlasdi")
__getattr__, _lazy_dir, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return sorted([*_lazy_dir(), "__version__"])
