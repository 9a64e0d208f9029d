from .kriged_curves import Member as Member
from .kriged_curves import RegisteredKriging as RegisteredKriging
