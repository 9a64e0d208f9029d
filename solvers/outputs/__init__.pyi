from .named_arrays import NamedArrays as NamedArrays
