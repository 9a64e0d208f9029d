"""Named arrays of a solver as outputs, each with axes of its own, in one state."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
