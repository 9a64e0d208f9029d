"""Where to solve next: initial designs, acquisition functions and batch sizes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
