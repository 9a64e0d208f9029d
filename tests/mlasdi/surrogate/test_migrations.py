"""A surrogate that version 0.1 saved as format 6, with keys that have other names in the present format."""

from pathlib import Path

import numpy as np
import pytest

from mlasdi import Surrogate

SAVED = Path(__file__).with_name("format-6")


def test_a_model_of_format_6_predicts_as_when_it_was_saved():
    surrogate = Surrogate.load(SAVED)
    assert surrogate.scaling_laws == {
        "rate of time": "a^0.99 w^-0.876",
        "scale of x": "w^-0.967",
        "unit of u": "a^0.996 w^0.0394",
    }
    prediction = surrogate.predict({"a": 0.83, "w": 1.03})
    # Predictions of that version at the last time, at x = -3, -1, 1 and 3.
    mean = [0.01157916393060533, 0.3550859267873256, 0.7084886835905478, 0.010510264180454915]
    std = [0.0007469915844926373, 0.00037198243293533827, 0.00037211543579145344, 0.0007495183329120728]
    np.testing.assert_allclose(prediction.mean[0, -1, [0, 20, 42, 60]], mean, rtol=1e-6)
    np.testing.assert_allclose(prediction.std[0, -1, [0, 20, 53, 60]], std, rtol=1e-3)


def test_it_is_saved_in_the_present_format(tmp_path):
    old = Surrogate.load(SAVED)
    new = Surrogate.load(old.save(tmp_path / "model"))
    assert '"format": 7' in (tmp_path / "model" / "surrogate.json").read_text()
    mu = np.array([[0.75, 0.95], [0.83, 1.03]])
    np.testing.assert_array_equal(new.predict(mu).mean, old.predict(mu).mean)
    np.testing.assert_array_equal(new.predict(mu).std, old.predict(mu).std)


@pytest.mark.parametrize(("old", "new"), [("clock", "time_scaling"), ("frame", "coordinate_scaling")])
def test_keys_of_earlier_versions_name_the_new_one(old, new):
    from mlasdi.training import ModelSettings

    with pytest.raises(ValueError, match=rf"{old} is a key of an earlier version; it is now {new}: learned \| off"):
        ModelSettings.model_validate({"kind": "mlasdi", old: "own"})
