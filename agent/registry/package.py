"""A surrogate as an MLflow model: its files, code, requirements, signature and input example."""

import json
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

SURROGATE = "surrogate"
"""Name of the artifact with the files of `Surrogate.save`."""
CARD, CONFIG, FIGURES = "model_card.md", "config.yaml", "figures"

_MODEL_FILE = Path(__file__).with_name("pyfunc_model.py")
# What `mlasdi.Surrogate` needs to load and predict; the code of `mlasdi` itself is saved with the model.
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
    "lazy-loader",
)


def packages() -> dict[str, str]:
    """Package -> installed version, for all packages that a registered model needs."""
    # Without a local build label such as `+cpu`, which exists in one package index only.
    return {name: installed_version(name).partition("+")[0] for name in _MODEL_REQUIREMENTS}


@dataclass(frozen=True)
class Documents:
    """Files that are saved with a model for people.

    Attributes:
        card, config: text of the model card and of the campaign's configuration; empty for no file.
    """

    card: str = ""
    config: str = ""

    def write(self, folder: Path) -> None:
        """Write all files into a folder."""
        for name, text in ((CARD, self.card), (CONFIG, self.config)):
            if text:
                (folder / name).write_text(text)


def save_model(
    path: Path,
    surrogate_folder: Path,
    box: dict[str, list[float]],
    documents: Documents,
    *,
    run_id: str,
    model_id: str,
) -> None:
    """Write the folder of an MLflow model; nothing in it is pickled.

    Args:
        path: the folder.
        surrogate_folder: with the files of `Surrogate.save`.
        box: parameter name -> (low, high), in the order of the input columns.
        run_id, model_id: of MLflow.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    code = find_spec("mlasdi")
    assert code is not None
    assert code.origin is not None
    mlflow.pyfunc.save_model(
        path=str(path),
        python_model=str(_MODEL_FILE),
        artifacts={SURROGATE: str(surrogate_folder)},
        code_paths=[str(Path(code.origin).parent)],
        pip_requirements=[f"{name}=={version}" for name, version in packages().items()],
        signature=_signature(list(box)),
        metadata=_metadata(list(box)),
        mlflow_model=Model(run_id=run_id, model_uuid=model_id, model_id=model_id),
    )
    _add_example(path, list(box), [0.5 * (low + high) for low, high in box.values()])
    documents.write(path)


def _metadata(inputs: list[str]) -> dict[str, Any]:
    """Names of the input columns, and axes of each kind of output."""
    axes = ["param", "time", "state"]
    return {
        "inputs": inputs,
        "output_axes": axes,
        "quantiles_axes": ["param", "quantile", *axes[1:]],
        "samples_axes": ["param", "sample", *axes[1:]],
    }


def _signature(inputs: list[str]) -> "ModelSignature":
    """A column for each parameter: MLflow would take the columns of a table for those of a tensor in any order."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([ColSpec("double", name) for name in inputs]),
        # Quantiles and samples have one more axis, which a signature cannot describe; `output_axes` does.
        outputs=Schema([TensorSpec(np.dtype(np.float64), (-1, -1, -1))]),
        params=ParamSchema(
            [
                ParamSpec("output", "string", "mean"),
                ParamSpec("n_stages", "long", None),
                ParamSpec("times", "double", [], (-1,)),
                ParamSpec("quantiles", "double", [], (-1,)),
                ParamSpec("n_samples", "long", None),
                ParamSpec("seed", "long", 0),
                ParamSpec("extrapolate", "boolean", False),
            ]
        ),
    )


def _add_example(path: Path, inputs: list[str], example: list[float]) -> None:
    """Add an input example to the model's description.

    MLflow's own way also loads the model and predicts to check the example, which takes most of the time of a
    registration.
    """
    from mlflow.models import Model

    name, serving = "input_example.json", "serving_input_example.json"
    table = {"columns": inputs, "data": [example]}
    (path / name).write_text(json.dumps(table))
    (path / serving).write_text(json.dumps({"dataframe_split": table}))
    model = Model.load(str(path))
    model.saved_input_example_info = {
        "artifact_path": name, "serving_input_path": serving, "type": "dataframe", "pandas_orient": "split"
    }  # fmt: skip
    model.save(str(path / "MLmodel"))
