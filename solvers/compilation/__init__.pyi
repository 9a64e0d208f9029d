from .numba_cache import compiled as compiled
