"""Where the work of a campaign runs, and what a piece of it needs."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlasdi.solvers.storage import check_protocol, is_url

# What Ray schedules by itself, with settings of their own here.
_OWN_RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")


class ClusterSettings(BaseModel):
    """Where solves run, in which order with the training, and what each needs.

    Attributes:
        executor: `ray` for solves side by side, `serial` for one after the other in the agent's process.
        mode: `synchronous` solves the points of a round, then trains, then chooses the next points; the same settings
            give the same campaign. `asynchronous` keeps `sampling.batch` solves under way while models are trained
            beside them, each on all that is solved by then.
        address: `local` starts Ray on this machine; `auto` joins the cluster that this machine belongs to, or the one
            that RAY_ADDRESS names; `ray://host:port` joins a distant one.
        runtime_env: code and environment that a cluster gets for this campaign, as Ray has it: working_dir, py_modules,
            pip, env_vars and so on.
        storage: for snapshots: a folder that all machines see under this path, or a URL that fsspec understands, such
            as `s3://bucket/prefix`; None for the campaign's own folder.
        cpus: cores for solves on this machine; None for all. A cluster knows its own.
        solve_cpus: cores that one solve uses; a fraction lets several share a core.
        solve_gpus: the same of accelerators.
        solve_memory_mb: memory that one solve needs, in MB: limits how many run at once, not what they take.
        solve_resources: what else one solve needs, by the names that the nodes of the cluster were started with.
        solve_time_limit_s: seconds after which a solve is ended and has failed; None for no limit.
        train_cpus: cores of a training that runs as a task, in asynchronous mode: for its leave-one-out folds side by
            side.
        train_gpus: GPUs of a training: networks (of `autoencoder` and `decoder` stages) are trained on one, where there
            is one; in asynchronous mode a fraction lets solves or trainings share it.
        retries: how often a point is tried again after a failure of a kind in `TRANSIENT`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Literal["ray", "serial"] = "ray"
    mode: Literal["synchronous", "asynchronous"] = "synchronous"
    address: str = Field(default="local", pattern=r"^(local|auto|ray://.+)$")
    runtime_env: dict[str, Any] = {}
    storage: str | None = None
    cpus: int | None = Field(default=None, ge=1)
    solve_cpus: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    solve_gpus: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    solve_memory_mb: int | None = Field(default=None, ge=1)
    solve_resources: dict[str, float] = {}
    solve_time_limit_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    train_cpus: int = Field(default=1, ge=1)
    train_gpus: float = Field(default=0.0, ge=0, le=1)
    retries: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cpus is not None and self.address != "local":
            raise ValueError(f"cpus is for address 'local'; the cluster at '{self.address}' knows its own: remove cpus")
        for name, amount in (("solve_cpus", self.solve_cpus), ("solve_gpus", self.solve_gpus)):
            if amount > 1 and not float(amount).is_integer():
                raise ValueError(f"{name} {amount} must be a whole number, or at most 1")
        if self.cpus is not None and self.solve_cpus > self.cpus:
            raise ValueError(f"solve_cpus {self.solve_cpus:g} is more than cpus {self.cpus}: no solve could start")
        if self.cpus is not None and self.mode == "asynchronous" and self.train_cpus > self.cpus:
            raise ValueError(f"train_cpus {self.train_cpus} is more than cpus {self.cpus}: no training could start")
        for name, amount in self.solve_resources.items():
            if name in _OWN_RESOURCES:
                raise ValueError(f"solve_resources: '{name}' has a key of its own: solve_cpus, solve_gpus or "
                                 "solve_memory_mb")  # fmt: skip
            if not amount > 0:
                raise ValueError(f"solve_resources: {name} must be above 0, got {amount}")
        if self.executor == "serial" and self.solve_time_limit_s is not None:
            raise ValueError("solve_time_limit_s ends a worker process, and executor 'serial' has none: use ray")
        if self.storage is not None and is_url(self.storage):
            check_protocol(self.storage)
            if self.solve_time_limit_s is not None:  # workers leave word of solves that were ended beside the solutions
                raise ValueError(f"storage {self.storage}: with solve_time_limit_s {self.solve_time_limit_s:g} it must "
                                 "be a folder that all machines see")  # fmt: skip
        if self.runtime_env and (self.executor == "serial" or self.address == "local"):
            raise ValueError("runtime_env is for a cluster; this machine has the agent's own environment: remove it")
        return self

    @property
    def solve_needs(self) -> dict[str, float]:
        """What one solve needs, by Ray's names of resources; memory in bytes."""
        needs = {"CPU": self.solve_cpus, "GPU": self.solve_gpus, "memory": (self.solve_memory_mb or 0) * 2**20}
        return {name: amount for name, amount in {**needs, **self.solve_resources}.items() if amount}
