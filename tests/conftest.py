"""Set-up of every test: annotated shapes and types are checked, and nothing depends on how busy the machine is."""

import jaxtyping

# Before anything imports them: every signature and dataclass of these packages, shapes included, is checked at run
# time. An int passes for a float, as it does for a type checker (PEP 484).
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
ROOMS = "solvers preprocessing interpolation alignment latent operator_inference stages decoders surrogate validation"
jaxtyping.install_import_hook(
    [f"mlasdi.{room}" for room in [*ROOMS.split(), "curves", "dynamics_selection", "training", "analysis"]], CHECKER
)

import torch  # noqa: E402
from headless import browser  # noqa: E402, F401
from hypothesis import settings  # noqa: E402

settings.register_profile("project", deadline=None)
settings.load_profile("project")
torch.set_num_threads(1)
