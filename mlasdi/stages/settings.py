"""Settings of the networks, in a file that does not import torch: configurations are read without it."""

from typing import Literal

from pydantic import BaseModel, Field

Activation = Literal["tanh", "softplus", "sine"]


class NetworkSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Hidden layers of a fully connected network.

    With `activation: sine` the first hidden layer is `sin(kappa (W z + b))` and the others are tanh (arXiv 2506.09207,
    section 3.3); otherwise all hidden layers have the same activation.
    """

    hidden: tuple[int, ...] = Field((20, 100), min_length=1)
    activation: Activation = "softplus"
    kappa: float = Field(1.0, gt=0, description="frequency factor of the sine layer")
