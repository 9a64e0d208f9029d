from .fitting import fit as fit
from .settings import ModelSettings as ModelSettings
from .stage_selection import Progress as Progress
from .stage_selection import StageSelection as StageSelection
