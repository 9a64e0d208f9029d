from .coefficient_gp import CoefficientGP as CoefficientGP
from .coefficient_gp import quiet_and_exact as quiet_and_exact
from .kernel_selection import Kernels as Kernels
from .kernel_selection import select_kernels as select_kernels
from .kriging import PRIOR_SCALE as PRIOR_SCALE
from .kriging import Kernel as Kernel
from .kriging import Kriging as Kriging
