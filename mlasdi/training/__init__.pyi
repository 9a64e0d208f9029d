from .candidates import Candidate as Candidate
from .candidates import first_stage as first_stage
from .candidates import later_stages as later_stages
from .context import Progress as Progress
from .context import TrainingContext as TrainingContext
from .fitting import fit as fit
from .settings import ModelSettings as ModelSettings
from .stage_selection import StageSelection as StageSelection
