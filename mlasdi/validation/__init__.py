"""How good a surrogate is: leave-one-out and validation errors, coverage, where the error comes from, diagnostics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
