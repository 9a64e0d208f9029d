"""Writes small files in the layout of The Well (https://arxiv.org/abs/2412.00568).

They hold no data of The Well, but solutions of mlasdi's own Burgers equation in two dimensions: `runs/` has 40 for the
campaign, `unseen/` 20 that it never reads.
"""

from pathlib import Path

import h5py
import numpy as np

from mlasdi.solvers.builtin.burgers2d import Burgers2D

solver = Burgers2D(n_x=30, n_t=51)
points = np.random.default_rng(0).uniform([0.7, 0.9], [0.9, 1.1], (56, 2)).tolist()
corners = [[a, w] for a in (0.7, 0.9) for w in (0.9, 1.1)]
for name, chosen in (("runs", corners + points[:36]), ("unseen", points[36:])):
    Path(name).mkdir(exist_ok=True)
    for i, (a, w) in enumerate(chosen):
        found = solver.solve({"a": a, "w": w})
        velocity = np.stack([one.reshape(-1, 30, 30) for one in np.split(found.u, 2, axis=1)], axis=-1)
        with h5py.File(f"{name}/burgers_{i:02d}.hdf5", "w") as file:
            file.attrs["dataset_name"], file.attrs["n_trajectories"] = "burgers", 1
            file.attrs["n_spatial_dims"], file.attrs["grid_type"] = 2, "cartesian"
            file["t1_fields/velocity"] = velocity[None].astype("f4")  # [trajectory, time, x, y, component]
            file["dimensions/time"] = found.t
            file["dimensions/x"], file["dimensions/y"] = solver.layout.coordinates.values()
            file["scalars/a"], file["scalars/w"] = a, w
