"""Every audit on any dataset: `factory audit`."""

from factory.reviewing.spec import Wanted
from factory.reviewing.walk import Review, review

__all__ = ["Review", "Wanted", "review"]
