"""Latent dynamics and their decoders, trained: by gradient (autoencoder), or by variable projection."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
