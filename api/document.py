"""The OpenAPI 3.1 document: APIFlask writes the paths, pydantic the components, under their own names.

APIFlask 3 would name a record anew below each that holds it (`Status.Counts`, `End.Counts`).
"""

from collections.abc import Mapping
from typing import Any

from apiflask import APIFlask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import shapes
from neurobatch import records
from neurobatch.codes import DISCLAIMER

COMPONENTS: tuple[type[BaseModel], ...] = (
    records.Status,
    records.Options,
    records.Result,
    shapes.Submission,
    shapes.BatchPage,
    shapes.ScanPage,
    shapes.LeftOutPage,
    shapes.ModelList,
    shapes.CodeList,
    shapes.Health,
    shapes.Readiness,
    shapes.Problem,
)

Responses = dict[int | str, dict[str, str | dict[str, dict[str, Any]]]]  # as APIFlask wants them

_REF = "#/components/schemas/"
_PROBLEM = {
    "description": "An error: RFC 9457, with a stable code (see `/v1/codes`).",
    "content": {"application/problem+json": {"schema": {"$ref": f"{_REF}Problem"}}},
}
_FORM = {
    "type": "object",
    "properties": {
        "options": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": f"{_REF}Options"},
        },
        "label": {"type": "string", "maxLength": 200},
        "expires": {"type": "string", "format": "date-time"},
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
    },
}


def gives(media_type: str, responses: Mapping[int, str]) -> Responses:
    """The responses of an address that gives a file, by status and with their descriptions."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {
        status: {"description": description, "content": {media_type: schema}}
        for status, description in responses.items()
    }


def register(app: APIFlask) -> None:
    """Have `app` publish the document."""
    app.config["OPENAPI_VERSION"] = "3.1.0"
    app.config["AUTO_VALIDATION_ERROR_RESPONSE"] = False
    app.config["AUTO_AUTH_ERROR_RESPONSE"] = False
    app.config["AUTO_404_RESPONSE"] = False
    app.description = f"Batches of brain MR scans: findings, masks and reports. {DISCLAIMER}"
    app.security_schemes = {"token": {"type": "http", "scheme": "bearer"}}
    app.spec_processor(complete)  # type: ignore[arg-type]  # JSON format: always a dict


def complete(spec: dict[str, Any]) -> dict[str, Any]:
    """Give the document pydantic's components, the bodies that are streamed, and the problem response."""
    _, schema = models_json_schema([(model, "serialization") for model in COMPONENTS], ref_template=_REF + "{model}")
    spec["components"]["schemas"] = schema["$defs"]
    spec["components"].setdefault("securitySchemes", {"token": {"type": "http", "scheme": "bearer"}})
    # `{}` below: on loopback without tokens
    spec["security"] = [{"token": []}, {}]
    for path in spec["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                _complete_responses(operation["responses"])
    submit = spec["paths"]["/v1/batches"]["post"]
    submit["requestBody"] = {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _FORM,
                "encoding": {"options": {"contentType": "application/json"}},
            },
            "application/json": {"schema": {"$ref": f"{_REF}Submission"}},
        },
    }
    submit["parameters"] = [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
    ]
    return {name: _own_names(part) for name, part in spec.items()}


def _complete_responses(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if status >= "400" and "content" in response:
            response["content"] = _PROBLEM["content"]
    responses["default"] = _PROBLEM


def _own_names(node: Any) -> Any:
    """References to `Outer.Inner`, as APIFlask names them, become references to `Inner`."""
    if isinstance(node, dict):
        return {
            key: _REF + value.removeprefix(_REF).rpartition(".")[2] if key == "$ref" else _own_names(value)
            for key, value in node.items()
        }
    return [_own_names(each) for each in node] if isinstance(node, list) else node
