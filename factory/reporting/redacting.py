"""A recipe as anyone may read it: without addresses of servers, headers, and places on the writer's disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(not told)"
PRIVATE = frozenset(
    {"base_url", "url", "endpoint", "identity", "headers", "extra_body", "api_key_env", "api_key"}
    | {"token", "password", "secret", "proxy"}
)
"""Keys whose values stay with the run."""
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
_PLACE = re.compile(r"(?:file://)?(?:/|~/|[A-Za-z]:[\\/])\S[^\n]*")


def read_recipe(text: str) -> dict[str, Any]:
    """The recipe as plain data; empty where the text is no mapping."""
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def redact_recipe(recipe: Mapping[str, Any]) -> str:
    """The recipe as YAML, with what is private left out."""
    import yaml

    return yaml.safe_dump(redact(recipe), sort_keys=False, allow_unicode=True, width=100)


def redact(value: Any) -> Any:
    """A JSON value without private keys, logins in addresses, and absolute paths (their last part stays)."""
    if isinstance(value, Mapping):
        return {key: HIDDEN if str(key).lower() in PRIVATE else redact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact(inner) for inner in value]
    return shorten(value) if isinstance(value, str) else value


def shorten(text: str) -> str:
    """A path as its last part, an address without its login; other texts as they are."""
    told = _LOGIN.sub("", text) if "://" in text else text
    if len(told) < 1000 and _PLACE.fullmatch(told):
        return "…/" + re.split(r"[\\/]", told.rstrip("\\/"))[-1]
    return told
