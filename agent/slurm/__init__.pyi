from .slurm_executor import SlurmExecutor as SlurmExecutor
