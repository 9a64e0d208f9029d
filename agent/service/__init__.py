"""The HTTP service of a surrogate: requests limited by what they cost, answered in turn."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
