from .candidates import Probes as Probes
from .data import OperatorInferenceSettings as OperatorInferenceSettings
from .data import TrajectoryData as TrajectoryData
from .model import OperatorInferenceModel as OperatorInferenceModel
from .selection import Selection as Selection
from .selection import SelectionSettings as SelectionSettings
from .selection import select as select
