"""Files of meshes, MATLAB, Zarr and raw binary, read as arrays by name; and series of files with one time each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
