"""Predictions in files: the same numbers in every format, in blocks, of fields and sensors; and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import xarray

from mlasdi.agent.prediction import check_figure, check_target, draw_prediction, predict_to
from mlasdi.agent.prediction import predict as prediction
from mlasdi.agent.prediction.predict import Request, Selection
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import Mesh, StateLayout
from mlasdi.solvers.formats import read_file
from mlasdi.surrogate import Surrogate

MU = np.array([[0.78, 1.04], [0.85, 0.95], [0.72, 1.0]])
T = np.linspace(0, 1, 7)
SENSORS = {"x": np.array([-1.01, 0.4])}


@pytest.fixture(scope="module")
def two_fields(burgers_surrogate: Surrogate) -> Surrogate:
    """The surrogate with its states read as two fields of a masked plane, in metres."""
    mask = np.ones((7, 8), dtype=bool)
    mask[3, 1:7] = False
    x, y = np.linspace(0, 3, 7), np.linspace(0, 1, 8)
    units = {"field_units": {"u": "m/s"}, "coordinate_units": {"x": "m", "y": "m"}, "time_unit": "s"}
    layout = StateLayout(("u", "v"), {"x": x, "y": y}, mask=mask, **units)
    basis = burgers_surrogate.basis
    shorter = PodBasis(basis.mean[: layout.n_state], basis.modes[: layout.n_state], basis.scale, 0.0)
    return replace(burgers_surrogate, layout=layout, basis=shorter)


@pytest.mark.parametrize("block_bytes", [1 << 26, 5000, 1])
@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_blocks_make_one_file(
    burgers_surrogate: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, block_bytes: int
) -> None:
    """Whether all points fit into memory, or not even one time of one of them."""
    monkeypatch.setattr(prediction, "BLOCK_BYTES", block_bytes)
    out = tmp_path / f"u{suffix}"
    summary = predict_to(burgers_surrogate, Request(MU, T, levels=(0.05, 0.95)), out)
    whole = burgers_surrogate.predict(MU, T)
    assert whole.std is not None
    with h5py.File(out) if suffix == ".h5" else np.load(out) as file:
        np.testing.assert_allclose(file["mean"][:], whole.mean, atol=1e-13)
        np.testing.assert_allclose(file["std"][:], whole.std, atol=1e-13)
        np.testing.assert_allclose(file["quantiles"][:], whole.quantiles([0.05, 0.95]), atol=1e-13)
        np.testing.assert_array_equal(file["levels"][:], [0.05, 0.95])
        np.testing.assert_array_equal(file["mu"][:], MU)
    assert summary["range"] == pytest.approx([whole.mean.min(), whole.mean.max()])
    assert summary["max_std"] == pytest.approx(whole.std.max())
    assert summary["estimated_relative_error"] == pytest.approx(burgers_surrogate.relative_std(MU).max())
    assert "mu" not in summary
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_memory_is_bounded(burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    predict: Callable = Surrogate.predict

    def recorded(self: Surrogate, mu: np.ndarray, t: np.ndarray, **rest: object) -> object:
        found = predict(self, mu, t, **rest)
        asked.append(found.mean.nbytes + found.std.nbytes)
        return found

    monkeypatch.setattr(prediction, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(Surrogate, "predict", recorded)
    predict_to(burgers_surrogate, Request(np.tile(MU, (20, 1)), T), None)
    assert max(asked) <= 100_000
    assert sum(asked) == 2 * 8 * 60 * 7 * 101


def test_netcdf_has_coordinates_and_units(two_fields: Surrogate, tmp_path: Path) -> None:
    predict_to(two_fields, Request(MU, T, levels=(0.5,)), tmp_path / "u.nc")
    whole = two_fields.layout.split(two_fields.predict(MU, T).mean)
    with xarray.open_dataset(tmp_path / "u.nc") as data:
        assert data["v"].dims == ("point", "time", "x", "y")
        np.testing.assert_allclose(data["v"], whole["v"])  # not a number where the plane has a hole
        np.testing.assert_allclose(data["u_quantiles"].isel(quantile=0), data["u"])
        np.testing.assert_array_equal(data["a"], MU[:, 0])
        assert data["a"].dims == ("point",)
        assert (data["u"].units, data["x"].units, data["time"].units, data["w"].units) == ("m/s", "m", "s", "1")
        assert float(data["v_std"].sel(x=3.0, time=1.0, method="nearest").max()) > 0


def test_netcdf_of_sensors_has_places(two_fields: Surrogate, tmp_path: Path) -> None:
    places = {"x": np.array([0.3, 2.9]), "y": np.array([0.1, 0.9])}
    predict_to(two_fields, Request(MU, T, selection=Selection(("v",), places)), tmp_path / "u.nc")
    with xarray.open_dataset(tmp_path / "u.nc") as data:
        assert data["v"].dims == ("point", "time", "place")
        assert data["x"].dims == ("place",)
        np.testing.assert_array_equal(data["y"], places["y"])
        assert "u" not in data


def test_names_that_collide_in_netcdf_are_told_apart(burgers_surrogate: Surrogate, tmp_path: Path) -> None:
    layout = StateLayout(("a",), {"time": burgers_surrogate.layout.coordinates["x"]})
    predict_to(replace(burgers_surrogate, layout=layout), Request(MU, T), tmp_path / "u.nc")
    with xarray.open_dataset(tmp_path / "u.nc", decode_times=False) as data:
        assert data["a"].dims == ("point", "time", "coordinate_time")
        np.testing.assert_array_equal(data["parameter_a"], MU[:, 0])


def test_fields_and_sensors_are_parts_of_the_whole(two_fields: Surrogate, tmp_path: Path) -> None:
    whole = two_fields.predict(MU, T).mean
    predict_to(two_fields, Request(MU, T, selection=Selection(("v",))), tmp_path / "v.h5")
    with h5py.File(tmp_path / "v.h5") as file:
        np.testing.assert_allclose(file["mean"][:], whole[..., 50:], atol=1e-13)
        assert list(file.attrs["fields"]) == ["v"]
        assert file["mask"].shape == (7, 8)
    sensors = {"x": np.array([0.0, 3.0]), "y": np.array([0.0, 1.0])}
    predict_to(two_fields, Request(MU, T, std=False, selection=Selection(None, sensors)), tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as file:
        np.testing.assert_allclose(file["mean"], whole[..., [0, 49, 50, 99]], atol=1e-13)
        assert set(file) == {"t", "mu", "mean", "x_x", "x_y", "parameter_names", "fields"}


def test_outside_the_trained_ranges_one_must_ask_for_it(burgers_surrogate: Surrogate) -> None:
    far = np.array([[0.78, 1.04], [0.95, 1.0], [0.6, 1.0]])
    with pytest.raises(ValueError, match=r"'a': 0.95.* and 1 more points lie outside the trained box .*--extrapolate"):
        predict_to(burgers_surrogate, Request(far, T), None)
    with pytest.raises(ValueError, match=r"times reach outside the trained interval \[0, 1\]; use --extrapolate"):
        predict_to(burgers_surrogate, Request(MU, np.array([1.5])), None)
    summary = predict_to(burgers_surrogate, Request(far, T, extrapolate=True), None)
    assert not summary["inside_box"]
    assert len(summary["warnings"]) == 1


def test_what_the_disk_cannot_hold_is_refused_at_once(
    burgers_surrogate: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=30_000))
    with pytest.raises(ValueError, match=r"the values take 3.39e-05 GB, and 3e-05 GB are free; ask for fewer points"):
        predict_to(burgers_surrogate, Request(MU, T), tmp_path / "u.h5")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_file_does_not_appear(
    burgers_surrogate: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Surrogate, "predict", fails)
    for suffix in (".h5", ".nc", ".npz"):
        with pytest.raises(KeyboardInterrupt):
            predict_to(burgers_surrogate, Request(MU, T), tmp_path / f"u{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_netcdf_names_the_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlasdi.agent.prediction.files.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'mlasdi\[netcdf\]'"):
        check_target(tmp_path / "u.nc")


# Figures


@pytest.mark.parametrize("selection", [Selection(), Selection(None, SENSORS)], ids=["field", "sensors"])
@pytest.mark.parametrize("times", [T, T[:1]], ids=["times", "one time"])
def test_a_line_is_drawn(burgers_surrogate: Surrogate, tmp_path: Path, selection: Selection, times: np.ndarray) -> None:
    draw_prediction(burgers_surrogate, Request(MU[:1], times, selection=selection), tmp_path / "u.png")
    assert (tmp_path / "u.png").read_bytes().startswith(b"\x89PNG")


def test_a_plane_is_drawn(two_fields: Surrogate, tmp_path: Path) -> None:
    draw_prediction(two_fields, Request(MU[:1], T), tmp_path / "u.png")
    assert (tmp_path / "u.png").stat().st_size > 5000
    nodes = {"x": np.random.default_rng(0).random(50), "y": np.random.default_rng(1).random(50)}
    scattered = replace(two_fields, layout=StateLayout(("u", "v"), nodes, scattered=True))
    draw_prediction(scattered, Request(MU[:1], T), tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 5000


def test_figures_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    many = Selection(None, {"x": np.zeros(9)})
    for path, request_, message in (
        (tmp_path / "u.gif", Request(MU[:1]), "ends in .png"),
        (tmp_path / "no" / "u.png", Request(MU[:1]), "there is no folder"),
        (tmp_path / "u.png", Request(MU), "it shows one trajectory, and 3 points are given"),
        (tmp_path / "u.png", Request(MU[:1], selection=many), "at most 8 sensors"),
    ):
        with pytest.raises(ValueError, match=message):
            check_figure(path, request_)


@pytest.fixture(scope="module")
def on_mesh(burgers_surrogate: Surrogate) -> Surrogate:
    """The surrogate with its states read as values on the triangles of a mesh."""
    n = burgers_surrogate.layout.n_state
    points = np.random.default_rng(0).uniform(size=(n + 2, 2))
    mesh = Mesh(points, {"triangle": np.arange(n)[:, None] + np.arange(3)}, centred=True)
    layout = StateLayout(("u",), dict(zip("xy", mesh.places.T, strict=True)), scattered=True, mesh=mesh)
    return replace(burgers_surrogate, layout=layout)


@pytest.mark.parametrize("block_bytes", [1 << 26, 1])
def test_mesh_files_open_with_their_mesh(
    on_mesh: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(prediction, "BLOCK_BYTES", block_bytes)
    whole = on_mesh.predict(MU[:1], T)
    for name in ("u.pvd", "u.xdmf"):
        predict_to(on_mesh, Request(MU[:1], T), tmp_path / name)
        found = read_file(tmp_path / name, None)[0]
        np.testing.assert_array_equal(found["t"], T)
        np.testing.assert_allclose(found["u"], whole.mean[0], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found["u_std"], whole.std[0], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found["mesh"].points[:, :2], on_mesh.layout.mesh.points)
        np.testing.assert_array_equal(found["mesh"].cells["triangle"], on_mesh.layout.mesh.cells["triangle"])
    predict_to(on_mesh, Request(MU[:1], T[3:4], std=False, levels=(0.05,)), tmp_path / "u.vtu")
    found = read_file(tmp_path / "u.vtu", None)[0]
    assert set(found) == {"u", "u_5%", "mesh"}
    np.testing.assert_allclose(found["u"][0], whole.mean[0, 3])
    assert not list(tmp_path.rglob("*.partial"))


def test_a_grid_becomes_a_mesh(two_fields: Surrogate, tmp_path: Path) -> None:
    predict_to(two_fields, Request(MU[:1], T[:1]), tmp_path / "u.vtu")
    found = read_file(tmp_path / "u.vtu", None)[0]
    fields = two_fields.layout.split(two_fields.predict(MU[:1], T[:1]).mean[0, 0])
    np.testing.assert_array_equal(found["v"][0], fields["v"].ravel())
    assert found["mesh"].cells["quad"].shape == (6 * 7, 4)


def test_what_a_mesh_file_cannot_hold_is_refused(on_mesh: Surrogate, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds one time, not 7"):
        predict_to(on_mesh, Request(MU[:1], T), tmp_path / "u.vtu")
    with pytest.raises(ValueError, match="holds one point, not 3"):
        predict_to(on_mesh, Request(MU, T), tmp_path / "u.pvd")
    assert not list(tmp_path.iterdir())
