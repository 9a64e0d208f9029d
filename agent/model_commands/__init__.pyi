from .analysis_commands import add_analysis_commands as add_analysis_commands
from .options import Debug as Debug
from .options import Json as Json
from .prediction_commands import add_prediction_commands as add_prediction_commands
from .registry_commands import add_registry_commands as add_registry_commands
