from .named_arrays import NamedArrays as NamedArrays
from .quantities import is_function as is_function
from .quantities import quantity as quantity
