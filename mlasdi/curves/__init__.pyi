from .curve_kriging import CurveKriging as CurveKriging
from .curve_kriging import Member as Member
from .curve_stage import CurveStage as CurveStage
