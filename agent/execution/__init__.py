"""Solves, trainings and proposals of points as tasks, and the executors that run them here or with Ray."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
