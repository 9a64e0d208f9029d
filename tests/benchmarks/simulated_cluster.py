"""A cluster of many nodes, simulated on this machine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
MEMORY = {"object_store_memory": 100 * 2**20}


@contextmanager
def simulated_cluster(n_nodes: int) -> Iterator[str]:
    """The address of nodes of one core each, and of a head without any; all state in a folder of their own."""
    folder = Path(tempfile.mkdtemp(prefix="rays-", dir="/tmp"))  # socket paths must be short
    (folder / "ray").mkdir()
    kept = dict(os.environ)
    paths = [str(HERE), str(HERE.parents[1])]
    os.environ |= {"RAY_TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    import ray
    from ray.cluster_utils import Cluster

    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **MEMORY})
    try:
        for _ in range(n_nodes):
            running.add_node(wait=False, num_cpus=1, **MEMORY)
        running.wait_for_nodes(timeout=600)
        yield running.address
    finally:
        ray.shutdown()
        running.shutdown()
        os.environ.clear()
        os.environ |= kept
        shutil.rmtree(folder, ignore_errors=True)
