"""The page that says what the service is and how it is asked; it needs no network, script or other file."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from pydantic import BaseModel

from mlasdi.agent.service.bodies import ProbeRequest, TrajectoryRequest
from mlasdi.surrogate import Surrogate


def service_page(surrogate: Surrogate, facts: Mapping[str, Any], limits: Mapping[str, str], address: str) -> str:
    """The page as HTML.

    Args:
        facts: what `GET /model` answers.
        limits: name -> value.
        address: of the service, for examples.
    """
    point, places = surrogate.space.as_dict(surrogate.space.centre()), surrogate.layout.coordinates
    time = float(0.5 * (surrogate.t[0] + surrogate.t[-1]))
    place = {name: float(np.sort(x)[len(x) // 2]) for name, x in places.items()}
    requests: list[tuple[str, type[BaseModel], dict[str, Any]]] = [
        ("/predict", TrajectoryRequest, {"points": [point], "times": [time], "sensors": [place]}),
        ("/probe", ProbeRequest, {"point": point, "time": time, "place": place}),
    ]
    shown = [
        {
            "path": path,
            "purpose": model.__doc__ or "",
            "keys": [
                (name, key.description or "", key.is_required(), "" if key.is_required() else json.dumps(key.default))
                for name, key in model.model_fields.items()
            ],
            "example": f"curl {address}{path} --json '{json.dumps(example)}'",
        }
        for path, model, example in requests
    ]
    return _template().render(facts=facts, requests=shown, limits=limits, address=address)


@cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("service.html")
