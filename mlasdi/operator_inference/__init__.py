"""Latent dynamics by operator inference, jointly over all training trajectories and with operators polynomial in mu."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
