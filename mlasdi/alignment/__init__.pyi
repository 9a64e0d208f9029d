from .align import aligned as aligned
from .coordinate_scaling import AxisMap as AxisMap
from .coordinate_scaling import CoordinateScaling as CoordinateScaling
from .missing_values import MissingValues as MissingValues
from .scaling_laws import scaling_laws as scaling_laws
from .time_scaling import COMMON_TIMES as COMMON_TIMES
from .time_scaling import TimeScaling as TimeScaling
from .time_scaling import TrajectorySplines as TrajectorySplines
