from .numbers import assignments as assignments
from .numbers import counted as counted
from .numbers import percent as percent
from .numbers import point as point
from .numbers import seconds as seconds
from .numbers import short as short
from .numbers import size as size
