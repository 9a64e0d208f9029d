"""The result of a training: predicts trajectories with uncertainty, is saved and loaded."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
