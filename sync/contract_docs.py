"""The texts of docs/contract and of both lives, made from the code. `make docs` writes them; a test compares.

One JSON Schema for each message, an AsyncAPI document that says who sends what where, the catalogue of codes, and the
tables of the lives of an order and of a clearance. The regulator's programmers read these instead of our code.
"""

import json
from pathlib import Path
from typing import Any

from sync import clearance_life, codes, order_life
from sync.contract import DOWN, JWS_TYPE, UP, Part, message_schema
from sync.jws import ALGORITHM

DOCS = Path(__file__).resolve().parent.parent / "docs"


def documents() -> dict[str, str]:
    """Every generated document: path under docs -> text."""
    found = {
        f"contract/{name}.schema.json": _json({"$id": f"{name}.schema.json", **message_schema(model)})
        for name, model in {**DOWN, **UP}.items()
    }
    found["contract/asyncapi.json"] = _json(asyncapi())
    found["contract/codes.md"] = codes.render()
    found["order-life.md"] = order_life.render()
    found["clearance-life.md"] = clearance_life.render()
    return found


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document, from the operator's end: it receives `down` and sends `up`."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Palang: regulator and operator",
            "version": "1",
            "description": (
                f"Each MQTT 5 payload is a compact JWS (RFC 7515): alg {ALGORITHM} (RFC 9864), typ {JWS_TYPE}, and kid "
                "are its whole header. Its payload is one JSON object that follows the schema of its `type`. QoS 1; "
                "a message sent again keeps its id. Orders and advisories share one sequence of serials from 1."
            ),
        },
        "defaultContentType": "application/jose",
        "channels": {"down": _channel("down", DOWN), "up": _channel("up", UP)},
        "operations": {
            "receiveDown": {"action": "receive", "channel": {"$ref": "#/channels/down"}},
            "sendUp": {"action": "send", "channel": {"$ref": "#/channels/up"}},
        },
        "components": {"messages": {name: _message(name, model) for name, model in {**DOWN, **UP}.items()}},
    }


def _channel(name: str, models: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": f"palang/v1/{{operator}}/{name}",
        "parameters": {"operator": {"description": "The operator's id."}},
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in models},
        "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
    }


def _message(name: str, model: type[Part]) -> dict[str, Any]:
    return {
        "name": name,
        "summary": (model.__doc__ or "").strip().partition("\n")[0],
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{name}.schema.json"},
        },
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
