from .http_app import Limits as Limits
from .http_app import application as application
from .http_server import listen as listen
from .http_server import run_server as run_server
