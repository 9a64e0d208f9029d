"""Settings of the section `cluster`: where tasks run, and the resources that each needs."""

import re
from math import ceil
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mlasdi.preprocessing import MEMORY_MB
from mlasdi.solvers.storage import check_protocol, is_url

MAX_CORES = 10_000  # of a task: more than any machine has
# Ray's own resources, which have settings of their own here.
_OWN_RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")


# Options of `sbatch` that the agent gives itself, or with which it would not know its jobs.
_OWN_OPTIONS = (
    *("array", "chdir", "clusters", "cpus-per-task", "error", "gpus", "job-name", "mem", "ntasks", "output"),
    *("parsable", "partition", "quiet", "test-only", "wait", "wrap"),
)
_OPTION = re.compile(r"--([a-z][a-z0-9-]+)(=[^\0\n]+)?")


class SlurmSettings(BaseModel):
    """How solves are submitted to SLURM, for `executor: slurm`.

    Attributes:
        partition: where jobs run; None for the default of the cluster.
        arguments: further options of `sbatch`, such as `[--account=physics, --time=2:00:00]`.
        poll_s: seconds between two questions to SLURM about the jobs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    partition: str | None = Field(default=None, pattern=r"^[\w.,-]+$")
    arguments: tuple[str, ...] = ()
    poll_s: float = Field(default=10.0, gt=0, le=3600)

    @field_validator("arguments")
    @classmethod
    def _are_options(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        for argument in arguments:
            option = _OPTION.fullmatch(argument)
            if option is None:
                raise ValueError(f"{argument!r} must be written --name or --name=value")
            # sbatch understands the beginning of a name, too.
            own = next((name for name in _OWN_OPTIONS if name.startswith(option[1])), None)
            if own is not None:
                raise ValueError(f"{argument!r}: --{own} is not allowed here; resources have the keys solve_cpus, "
                                 "solve_memory_mb, solve_gpus and slurm.partition")  # fmt: skip
        return arguments


class ClusterSettings(BaseModel):
    """Where tasks run, in which order, and the resources that each needs.

    Attributes:
        executor: `ray` runs solves in parallel; `serial` runs one after the other in the agent's process,
            which a solver that crashes in compiled code ends; `slurm` submits a job for each, and the agent may be
            stopped while they wait or run.
        mode: `synchronous` solves the points of a round, then trains, then chooses the next points; the same settings
            give the same campaign. `asynchronous` keeps `sampling.batch` solves running while models are trained, each
            on all points solved by then.
        address: `local` starts Ray on this machine; `auto` joins the cluster that this machine belongs to, or the one
            that RAY_ADDRESS names; `ray://host:port` joins a remote one.
        runtime_env: code and environment that a cluster gets for this campaign, in the notation of Ray: working_dir,
            py_modules, pip, env_vars and so on.
        storage: where snapshots are stored: a folder that all machines can access under this path, or a URL that fsspec
            understands, such as `s3://bucket/prefix`; None for the campaign's own folder.
        share_solutions: whether campaigns with the same solver, in the same `root` or folder `storage`, find each
            other's solutions. Python functions are the same if the Python files beside them are; programs are shared
            only if they have a `version`.
        cpus: cores for solves on this machine; None for all. Only for `address: local`.
        solve_cpus: cores that one solve uses, and threads of its linear algebra; with a fraction, several solves share
            a core.
        solve_gpus: GPUs that one solve uses, likewise.
        solve_memory_mb: memory that one solve needs, in MB; it limits the number of concurrent solves, not the memory
            that a solve may use.
        solve_resources: other resources that one solve needs, by the names with which the nodes of the cluster were
            started.
        solve_time_limit_s: seconds after which a solve is ended and counts as failed; None for no limit.
        train_cpus: cores of a training: threads of its linear algebra and, in asynchronous mode, parallel leave-one-out
            folds of one thread each.
        train_memory_mb: memory of a training for arrays of the size of the solutions, in MB; the process itself takes
            about 500 MB more. Solutions that fit in it several times are kept in memory; others are read in blocks.
        train_gpus: GPUs of a training, for the networks of `autoencoder` and `decoder` stages, if the machine has one;
            in asynchronous mode, solves and trainings share a GPU by fractions.
        slurm: how solves are submitted, for `executor: slurm`.
        retries: how often a point is tried again after a failure of a kind in `TRANSIENT`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    executor: Literal["ray", "serial", "slurm"] = "ray"
    mode: Literal["synchronous", "asynchronous"] = "synchronous"
    address: str = Field(default="local", pattern=r"^(local|auto|ray://.+)$")
    runtime_env: dict[str, Any] = {}
    storage: str | None = None
    share_solutions: bool = True
    cpus: int | None = Field(default=None, ge=1, le=MAX_CORES)
    solve_cpus: float = Field(default=1.0, gt=0, le=MAX_CORES)
    solve_gpus: float = Field(default=0.0, ge=0, le=MAX_CORES)
    solve_memory_mb: int | None = Field(default=None, ge=1, le=10**9)
    solve_resources: dict[str, float] = {}
    solve_time_limit_s: float | None = Field(default=None, gt=0)
    train_cpus: int = Field(default=1, ge=1, le=MAX_CORES)
    train_memory_mb: int = Field(default=MEMORY_MB, ge=100, le=10**9)
    train_gpus: float = Field(default=0.0, ge=0, le=1)
    slurm: SlurmSettings = SlurmSettings()
    retries: int = Field(default=1, ge=0, le=100)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cpus is not None and self.address != "local":
            raise ValueError(f"cpus is for address 'local'; the cluster at '{self.address}' has its own: remove cpus")
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
            raise ValueError("solve_time_limit_s ends worker processes, which executor 'serial' does not have: use ray")
        if self.storage is not None and is_url(self.storage):
            check_protocol(self.storage)
            if self.solve_time_limit_s is not None:  # workers write a file about ended solves to the storage
                raise ValueError(f"storage {self.storage}: with solve_time_limit_s {self.solve_time_limit_s:g} it must "
                                 "be a folder that all machines can access")  # fmt: skip
        if self.runtime_env and (self.executor != "ray" or self.address == "local"):
            raise ValueError("runtime_env is for a cluster; on this machine, workers use the agent's: remove it")
        if self.executor == "slurm":
            self._check_slurm()
        return self

    def _check_slurm(self) -> None:
        for key, value in (("cpus", self.cpus), ("solve_resources", self.solve_resources)):
            if value:
                raise ValueError(f"{key} {value} is for executor 'ray'; SLURM has options of its own: slurm.arguments")
        if not float(self.solve_gpus).is_integer():
            raise ValueError(f"solve_gpus {self.solve_gpus} must be a whole number for executor 'slurm'")
        if self.storage is not None and is_url(self.storage):
            raise ValueError(
                f"storage {self.storage}: with executor 'slurm' it must be a folder that all machines share"
            )

    @property
    def solve_threads(self) -> int:
        """Number of threads of one solve."""
        return ceil(self.solve_cpus)

    @property
    def solve_needs(self) -> dict[str, float]:
        """Resources that one solve needs, by Ray's names; memory in bytes."""
        needs = {"CPU": self.solve_cpus, "GPU": self.solve_gpus, "memory": (self.solve_memory_mb or 0) * 2**20}
        return {name: amount for name, amount in {**needs, **self.solve_resources}.items() if amount}
