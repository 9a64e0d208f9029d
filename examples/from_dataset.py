"""Fit a surrogate to runs that are in an xarray Dataset, and ask it what measurements say about the parameters."""

import numpy as np
import xarray as xr

import mlasdi

x, t = np.linspace(0, 1, 41), np.linspace(0, 2, 31)
a, k = np.linspace(0.5, 2, 5), np.linspace(1, 2, 4)
A, K, T, X = np.meshgrid(a, k, t, x, indexing="ij")
u = np.exp(-A * T) * np.sin(np.pi * X) * K
runs = xr.Dataset({"u": (("a", "k", "time", "x"), u, {"units": "K"})}, {"a": a, "k": k, "time": t, "x": x})

model = mlasdi.fit(runs, parameters={"a": (0.5, 2), "k": (1, 2)})
print(model)
print(model.sensitivity("max(u)", n=64).to_dataframe()[["parameter", "first", "total"]])
