"""Full-order models: what a solver must offer and returns, and the parameter space."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
