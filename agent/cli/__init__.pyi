from .console import ConsoleMonitor as ConsoleMonitor
from .console import progress_output as progress_output
