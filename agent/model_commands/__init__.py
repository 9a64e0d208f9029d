"""The commands about models: lists, predictions, analyses, and the service over HTTP."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
