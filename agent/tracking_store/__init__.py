"""Access to MLflow stores: their addresses, clients for them, and the database that is embedded in a root folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
