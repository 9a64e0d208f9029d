"""What people do with a surrogate: sensitivity, propagation of input distributions, calibration, optimisation."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
