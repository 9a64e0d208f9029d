"""Alignment: rescaled times, coordinates and amplitudes in which the trajectories of all parameters look alike."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
