from .agent.config import Config as Config
from .agent.registry import find as find
from .agent.study import Study as Study
from .agent.study import build as build
from .arrays import Parameter as Parameter
from .arrays import fit as fit
from .arrays import load as load
from .solvers import FullOrderModel as FullOrderModel
from .solvers import ParameterSpace as ParameterSpace
from .solvers import Snapshots as Snapshots
from .solvers import SolverError as SolverError
from .surrogate import Prediction as Prediction
from .surrogate import Surrogate as Surrogate
from .training import ModelSettings as ModelSettings

__version__: str
