"""Tracking and model registry with MLflow: runs, registered models and aliases."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
