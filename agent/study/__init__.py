"""Campaigns from Python: a function in, a study with model, points and report out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
