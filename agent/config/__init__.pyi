from .budget import Budget as Budget
from .budget import StopReason as StopReason
from .config import Config as Config
from .config import ConfigError as ConfigError
from .config import dump_config as dump_config
from .config import load_config as load_config
