from .surrogate import Prediction as Prediction
from .surrogate import Surrogate as Surrogate
