"""From an exception of the `openai` SDK to a `CallFault`. Messages are made anew: the SDK's hold requests."""

from __future__ import annotations

from factory.backends.faults import fault_of_status, read_error
from factory.errors import BadBody, CallFault, ConnectionFailed, ConnectionLost, Refused

_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"})
_NO_ADDRESS = frozenset({"InvalidURL", "UnsupportedProtocol", "TooManyRedirects"})
_NO_BODY = frozenset({"DecodingError"})


def fault_of_sdk(error: BaseException, *, timeout: float) -> CallFault | None:
    """The fault that an exception of the SDK, or of the sockets below it, means; None for what is neither's.

    The HTTP library below the SDK is known by the names of its exceptions: which one it is depends on the version.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        response = error.response
        return fault_of_status(error.status_code, response.headers, read_error(response.content))
    if isinstance(error, openai.APIConnectionError):
        return _fault_of_connection(error, timeout)
    if isinstance(error, openai.APIError):
        return BadBody("the SDK cannot read the answer")
    if isinstance(error, (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError)):
        return BadBody("the SDK did not pass the answer on")
    if isinstance(error, openai.OpenAIError):
        return Refused(f"the SDK cannot make the request: {type(error).__name__}")
    if isinstance(error, TimeoutError):
        return ConnectionLost(f"no whole answer within {timeout:g} s")
    if isinstance(error, OSError):
        return ConnectionLost(f"the connection broke: {_reason(error)}")
    return None


def _fault_of_connection(error: BaseException, timeout: float) -> CallFault:
    import openai

    causes = list(_causes(error))
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if names & _NO_ADDRESS:
        return Refused("the address is no URL that can be called: check base_url")
    if any("CERTIFICATE_VERIFY_FAILED" in str(cause) for cause in causes[1:]):
        return ConnectionFailed("the server's certificate is not trusted (SSL_CERT_FILE names other authorities)")
    if names & {"ConnectTimeout", "PoolTimeout"}:
        return ConnectionFailed("no connection in time")
    if names & _NOT_SENT:
        what = "the proxy refused" if "ProxyError" in names else f"no connection: {_reason(causes[-1])}"
        return ConnectionFailed(what)
    if isinstance(error, openai.APITimeoutError):
        return ConnectionLost(f"no whole answer within {timeout:g} s")
    if names & _NO_BODY:
        return BadBody("the body does not fit its encoding")
    return ConnectionLost(f"the connection broke: {_reason(causes[-1])}")


def _causes(error: BaseException | None) -> list[BaseException]:
    """An exception and what caused it, outermost first."""
    found: list[BaseException] = []
    while error is not None and len(found) < 10:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _reason(error: BaseException) -> str:
    """The operating system's words, else the name of the exception's class."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
