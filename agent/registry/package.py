"""A surrogate as an MLflow model: the code that loads it, its files, requirements, signature, input example."""

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

SURROGATE = "surrogate"
"""Name of the artifact that holds what `Surrogate.save` wrote."""
CARD, CONFIG, FIGURES = "model_card.md", "config.yaml", "figures"

_MODEL_FILE = Path(__file__).with_name("pyfunc_model.py")
# What `mlasdi.Surrogate` needs to load and predict; the packages `mlasdi` and `solvers` travel with the model as code.
_MODEL_PACKAGES = ("mlasdi", "solvers")
_MODEL_REQUIREMENTS = (
    "mlflow",
    "numpy",
    "scipy",
    "h5py",
    "torch",
    "gpytorch",
    "botorch",
    "safetensors",
    "jaxtyping",
    "pydantic",
)


def packages() -> dict[str, str]:
    """Package -> installed version, of all that a registered model needs."""
    # Without a local build label such as `+cpu`, which only one package index knows.
    return {name: installed_version(name).partition("+")[0] for name in _MODEL_REQUIREMENTS}


def save_model(
    path: Path,
    surrogate_folder: Path,
    box: dict[str, list[float]],
    *,
    run_id: str,
    model_id: str,
    card: str = "",
    config: str = "",
    figures: Sequence[Path] = (),
) -> None:
    """Write the model folder; nothing in it is pickled.

    Args:
        box: parameter name -> (low, high), in the order of the input columns.
        card, config: text of the model card and of the campaign's configuration; empty: no such file.
        figures: files that are copied into the folder `figures`.
    """
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float64), (-1, len(box)))]),
        # One axis more for quantiles and samples, which a signature cannot tell: `output_axes` does.
        outputs=Schema([TensorSpec(np.dtype(np.float64), (-1, -1, -1))]),
        params=ParamSchema(
            [
                ParamSpec("output", "string", "mean"),
                ParamSpec("n_stages", "long", None),
                ParamSpec("times", "double", [], (-1,)),
                ParamSpec("quantiles", "double", [], (-1,)),
                ParamSpec("n_samples", "long", None),
                ParamSpec("seed", "long", 0),
            ]
        ),
    )
    code = [str(Path(spec.origin).parent) for spec in map(find_spec, _MODEL_PACKAGES) if spec and spec.origin]
    axes = ["param", "time", "state"]
    mlflow.pyfunc.save_model(
        path=str(path),
        python_model=str(_MODEL_FILE),
        artifacts={SURROGATE: str(surrogate_folder)},
        code_paths=code,
        pip_requirements=[f"{name}=={version}" for name, version in packages().items()],
        signature=signature,
        metadata={
            "inputs": list(box),
            "output_axes": axes,
            "quantiles_axes": ["param", "quantile", *axes[1:]],
            "samples_axes": ["param", "sample", *axes[1:]],
        },
        mlflow_model=Model(run_id=run_id, model_uuid=model_id, model_id=model_id),
    )
    _add_example(path, [[0.5 * (low + high) for low, high in box.values()]])
    for name, text in ((CARD, card), (CONFIG, config)):
        if text:
            (path / name).write_text(text)
    for figure in figures:
        (path / FIGURES).mkdir(exist_ok=True)
        shutil.copy(figure, path / FIGURES)


def _add_example(path: Path, example: list[list[float]]) -> None:
    """Name an input example in the model's description.

    MLflow would do it, and would load the model and predict to check it: most of the time of a registration.
    """
    from mlflow.models import Model

    name, serving = "input_example.json", "serving_input_example.json"
    (path / name).write_text(json.dumps(example))
    (path / serving).write_text(json.dumps({"inputs": example}))
    model = Model.load(str(path))
    model.saved_input_example_info = {"artifact_path": name, "serving_input_path": serving, "type": "ndarray"}
    model.save(str(path / "MLmodel"))
