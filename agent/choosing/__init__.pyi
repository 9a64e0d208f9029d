from .acquisition import PointSets as PointSets
from .acquisition import propose as propose
from .batch_size import Costs as Costs
from .batch_size import points_of_round as points_of_round
from .sampling import SamplingSettings as SamplingSettings
from .sampling import initial_design as initial_design
from .sampling import next_sobol as next_sobol
from .sampling import read_candidates as read_candidates
