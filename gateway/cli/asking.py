"""A question of a command to the API of a running gateway, and its answer.

It knows neither what is asked nor how the answer is shown.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
from typing import Any

from .publish import authorization, exchange, refusal, target_of
from .reading import read_duration


def ask_api(
    arguments: argparse.Namespace, method: str, path: str, body: bytes | None, wanted: str
) -> dict[str, Any]:
    """Return what the API answers, an object that has the field `wanted`.

    Raises CommandFailedError, with what the gateway says of it.
    """
    headers = {"Content-Type": "application/json"} | authorization(arguments.api_key, os.environ)
    target = target_of(arguments.api, path)
    status, answer = exchange(method, target, body, headers, read_duration("--timeout", arguments.timeout))
    try:
        decoded = json.loads(answer)
    except (ValueError, RecursionError):
        decoded = None
    fields = decoded if isinstance(decoded, dict) else {}
    if status != http.client.OK or wanted not in fields:
        raise refusal(status, fields)
    return fields
