"""Where a server is: its address, whether it is on this machine or network, and which key it may be sent."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from factory.errors import UsageError

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_KEY = "OPENAI_API_KEY"
_PRIVATE_SUFFIXES = (".local", ".localdomain", ".internal", ".lan", ".home.arpa", ".intranet", ".cluster.local")


def base_url_of(model: ModelConfig) -> str:
    """The model's `base_url`, or the default one; without a slash at its end. Raises UsageError on what is no URL."""
    url = (model.base_url or DEFAULT_BASE_URL).rstrip("/").removesuffix("/chat/completions")
    if not is_http_url(url):
        raise UsageError(f"`{url[:80]}` is no base_url", "write http://HOST:PORT/v1 or https://HOST/v1")
    return url


def is_http_url(url: str) -> bool:
    """Whether this is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of a URL, in lower case, without port."""
    return (urlsplit(url).hostname or "").lower()


def server_name(url: str) -> str:
    """`host:port` of a URL, for messages."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def is_loopback(host: str) -> bool:
    """True for this machine: `localhost`, 127.0.0.0/8, ::1, and 0.0.0.0, which clients take for it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_private(host: str) -> bool:
    """True for this machine and for its network: private and link-local addresses, names without a public domain."""
    if is_loopback(host):
        return True
    address = _address(host)
    if address is not None:
        return address.is_private or address.is_link_local
    return "." not in host or host.endswith(_PRIVATE_SUFFIXES)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return None


def key_of(model: ModelConfig) -> str | None:
    """The key to send, or None where none is needed.

    The variable of `api_key_env`, wherever the server is; else OPENAI_API_KEY, to the default `base_url` alone; else
    none, to loopback and private addresses. Raises UsageError, naming the variable, when a key is missing.
    """
    url = base_url_of(model)
    if model.api_key_env:
        return from_environment(model.api_key_env, model.name)
    if url == DEFAULT_BASE_URL:
        return from_environment(DEFAULT_KEY, model.name)
    if is_private(host_of(url)):
        return None
    raise UsageError(
        f"{model.name} at {server_name(url)} needs a key: the default one, ${DEFAULT_KEY}, is sent to "
        f"{host_of(DEFAULT_BASE_URL)} alone",
        "name the variable that holds its key with `api_key_env:` (any value when the server wants none)",
    )


def key_variable(model: ModelConfig) -> str | None:
    """The environment variable whose key `key_of` sends; None where it sends none."""
    return model.api_key_env or (DEFAULT_KEY if base_url_of(model) == DEFAULT_BASE_URL else None)


def from_environment(variable: str, name: str) -> str:
    """The key in a variable, for the model `name`. Raises UsageError where it is missing, or no key can look so."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(
            f"{name} needs a key, but the environment variable {variable} is not set",
            f"export {variable}=…, or try the recipe with --model ROLE=embedded/tiny, which needs none",
        )
    if not key.isascii() or not key.isprintable():
        raise UsageError(f"the key in {variable} holds characters that no key has", f"export {variable} again")
    return key


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a URL (`HTTPS_PROXY`, `NO_PROXY`, …); never one for loopback."""
    import urllib.request

    host = host_of(url)
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(urlsplit(url).scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        scheme = urlsplit(proxy).scheme
        raise UsageError(
            f"the proxy of the environment for {server_name(url)} speaks {scheme}", "use an http:// or https:// proxy"
        )
    return proxy
