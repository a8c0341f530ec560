"""The `faker` axis (an extra): values of a Faker provider, seeded for each row, and never a function of the clock."""

from __future__ import annotations

import datetime as clock
import re
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from factory.errors import MissingExtra, UsageError, nearest

if TYPE_CHECKING:
    from factory.recipe.axes import FakerConfig

_DAYS_AHEAD = 4000
_TRIALS = 8
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Faked:
    """A provider of a Faker generator of its own, with the provider's arguments."""

    provider: str
    options: Mapping[str, Any]
    faker: Any = field(repr=False, compare=False)

    def draw(self, seed: bytes) -> Any:
        """The provider's value for a seed."""
        self.faker.seed_instance(int.from_bytes(seed[:16], "big"))
        return getattr(self.faker, self.provider)(**self.options)


def compile_faker(config: FakerConfig) -> tuple[Faked, str]:
    """The axis and Faker's version (other versions may draw other values).

    Raises MissingExtra, and UsageError for an unknown provider or locale, arguments that the provider does not take,
    and a provider whose values hang on today's date.
    """
    try:
        import faker
    except ImportError:
        raise MissingExtra("a `faker` axis", "faker") from None
    try:
        generator = faker.Faker(config.locale, use_weighting=True)
    except AttributeError:
        raise UsageError(
            f"faker knows no locale `{config.locale}`", nearest(config.locale, faker.config.AVAILABLE_LOCALES)
        ) from None
    only = generator.factories[0]
    options = {key: _as_date(value) for key, value in (config.model_extra or {}).items()}
    if not callable(getattr(only, config.provider, None)) or config.provider.startswith(("_", "seed", "add_", "set_")):
        raise UsageError(f"faker has no provider `{config.provider}`", nearest(config.provider, _providers(only)))
    faked = Faked(config.provider, options, only)
    try:
        today = _trial(faked)
    except Exception as error:  # whatever a provider raises, it is the recipe's arguments that it does not take
        kind = type(error).__name__
        raise UsageError(f"faker's `{config.provider}` fails: {kind}: {error}", "check its arguments") from error
    with _later():
        later = _trial(faked)
    if today != later:
        raise UsageError(
            f"faker's `{config.provider}` hangs on today's date, so tomorrow's rows would differ",
            "use a `date` axis, or give the provider fixed dates",
        )
    return faked, str(faker.VERSION)


def _as_date(value: Any) -> Any:
    """A date of the recipe as Faker wants it."""
    return clock.date.fromisoformat(value) if isinstance(value, str) and _DATE.fullmatch(value) else value


def _trial(faked: Faked) -> list[str]:
    return [repr(faked.draw(bytes([number]) * 16)) for number in range(_TRIALS)]


def _providers(generator: Any) -> list[str]:
    found = {name for provider in generator.get_providers() for name in dir(provider)}
    return [name for name in found if not name.startswith("_") and callable(getattr(generator, name, None))]


class _Likeness(type):
    """`isinstance` as of the class itself, for a stand-in whose instances are never made."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.__mro__[1])


class _LaterTime(clock.datetime, metaclass=_Likeness):
    @classmethod
    def now(cls, tz: clock.tzinfo | None = None) -> clock.datetime:  # type: ignore[override]
        return clock.datetime.now(tz) + clock.timedelta(days=_DAYS_AHEAD)


class _LaterDay(clock.date, metaclass=_Likeness):
    @classmethod
    def today(cls) -> clock.date:  # type: ignore[override]
        return clock.date.today() + clock.timedelta(days=_DAYS_AHEAD)


@contextmanager
def _later() -> Iterator[None]:
    """Faker's providers believe that it is eleven years later."""
    module = types.ModuleType("datetime")
    module.__dict__.update({**vars(clock), "datetime": _LaterTime, "date": _LaterDay})
    shifted = {id(clock.datetime): _LaterTime, id(clock.date): _LaterDay, id(clock): module}
    changed: list[tuple[dict[str, Any], str, Any]] = []
    for name, loaded in list(sys.modules.items()):
        if name.startswith("faker.providers"):
            for key, value in list(vars(loaded).items()):
                if id(value) in shifted:
                    changed.append((vars(loaded), key, value))
    try:
        for scope, key, value in changed:
            scope[key] = shifted[id(value)]
        yield
    finally:
        for scope, key, value in changed:
            scope[key] = value
