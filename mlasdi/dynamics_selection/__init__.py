"""Choice of latent dynamics: forms and hyperparameters of operator inference, by errors of predictions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
