"""The records of a campaign: its SQLite ledger, times, models and assessments, and its progress events."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
