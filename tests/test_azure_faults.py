"""What every exception of the `openai` SDK, and of the HTTP library below it, means."""

from __future__ import annotations

import sys

import openai
import pytest

from factory import errors
from factory.backends.sdk_faults import fault_of_sdk
from factory.errors import CallFault


def _subclasses(root: type) -> set[type]:
    return {root} | {below for child in root.__subclasses__() for below in _subclasses(child)}


class _Answer:
    """What an exception of the SDK holds of an answer."""

    def __init__(self, status: int):
        self.status_code, self.headers, self.content = status, {}, b"{}"


@pytest.mark.parametrize("kind", sorted(_subclasses(openai.OpenAIError), key=str), ids=lambda kind: kind.__name__)
def test_every_exception_of_the_sdk_is_mapped(kind: type[Exception]) -> None:
    found = kind.__new__(kind)
    Exception.__init__(found)
    if issubclass(kind, openai.APIStatusError):
        found.status_code = 418  # type: ignore[attr-defined]
        found.response = _Answer(418)  # type: ignore[attr-defined]
    fault = fault_of_sdk(found, timeout=1)
    assert isinstance(fault, CallFault)
    if issubclass(kind, openai.APIStatusError):
        assert type(fault) is errors.BadRequest and fault.status == 418
    elif issubclass(kind, openai.APIConnectionError):
        assert type(fault) is errors.ConnectionLost and fault.cost_unknown
    elif issubclass(kind, openai.APIError):
        assert type(fault) is errors.BadBody and fault.cost_unknown


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ("ConnectError", errors.ConnectionFailed),
        ("ConnectTimeout", errors.ConnectionFailed),
        ("PoolTimeout", errors.ConnectionFailed),
        ("ProxyError", errors.ConnectionFailed),
        ("ReadTimeout", errors.ConnectionLost),
        ("WriteTimeout", errors.ConnectionLost),
        ("ReadError", errors.ConnectionLost),
        ("WriteError", errors.ConnectionLost),
        ("RemoteProtocolError", errors.ConnectionLost),
        ("DecodingError", errors.BadBody),
        ("UnsupportedProtocol", errors.Refused),
        ("TooManyRedirects", errors.Refused),
    ],
)
def test_the_cause_below_the_sdk_tells_whether_it_was_sent(cause: str, expected: type[CallFault]) -> None:
    outers = [openai.APIConnectionError] + [openai.APITimeoutError] * ("Timeout" in cause)
    for outer in outers:
        found = outer.__new__(outer)
        Exception.__init__(found)
        found.__cause__ = type(cause, (Exception,), {})("inner")
        assert type(fault_of_sdk(found, timeout=1)) is expected


def test_every_exception_of_the_library_below_is_mapped() -> None:
    library = sys.modules[type(openai.DEFAULT_CONNECTION_LIMITS).__module__.partition(".")[0]]
    before_sending = (library.ConnectError, library.ConnectTimeout, library.PoolTimeout, library.ProxyError)
    kinds = _subclasses(library.HTTPError)
    assert len(kinds) > 10
    for kind in kinds:
        found = openai.APIConnectionError.__new__(openai.APIConnectionError)
        found.__cause__ = kind.__new__(kind)
        fault = fault_of_sdk(found, timeout=1)
        assert isinstance(fault, CallFault)
        assert isinstance(fault, errors.ConnectionFailed) == issubclass(kind, before_sending)


def test_sockets_and_bugs() -> None:
    assert type(fault_of_sdk(TimeoutError(), timeout=1)) is errors.ConnectionLost
    assert type(fault_of_sdk(ConnectionResetError(104, "reset"), timeout=1)) is errors.ConnectionLost
    assert fault_of_sdk(KeyError("x"), timeout=1) is None
