from .probes import Probes as Probes
from .search import SelectionSettings as SelectionSettings
from .selection import Selection as Selection
from .selection import select as select
