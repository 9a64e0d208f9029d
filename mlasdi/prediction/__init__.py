"""What a surrogate is asked for, and the trajectories that it answers with: by name, as tables of axes, as figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
