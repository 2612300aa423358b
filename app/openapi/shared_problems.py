"""Problems that many operations answer with, said once."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from app.problems import MEDIA_TYPE


def share_problems(document: dict[str, Any]) -> None:
    """What two operations answer with alike becomes a component: `#/components/responses/StorageUnavailable`."""
    answers = [operation["responses"] for methods in document["paths"].values() for operation in methods.values()]
    count = Counter(_spelled(response) for responses in answers for response in responses.values() if _is_problem(response))
    shared = document["components"].setdefault("responses", {})
    for responses in answers:
        for status, response in responses.items():
            if count[_spelled(response)] > 1 and shared.setdefault(_name(response), response) == response:
                responses[status] = {"$ref": f"#/components/responses/{_name(response)}"}
    document["components"]["responses"] = dict(sorted(shared.items()))


def _is_problem(response: dict[str, Any]) -> bool:
    return "examples" in response.get("content", {}).get(MEDIA_TYPE, {})


def _name(response: dict[str, Any]) -> str:
    """Of its first code."""
    first = next(iter(response["content"][MEDIA_TYPE]["examples"]))
    return "".join(word.capitalize() for word in first.split("_"))


def _spelled(response: dict[str, Any]) -> str:
    return json.dumps(response, sort_keys=True)
