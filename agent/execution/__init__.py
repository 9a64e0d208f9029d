"""Solves, trainings and choices of points as tasks, run in this process or by Ray."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
