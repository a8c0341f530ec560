"""What a run will take, before it is paid: requests, tokens, USD and time, each with bounds and what it rests on."""

from factory.estimating.amounts import Amounts, Estimate, Interval
from factory.estimating.estimator import estimate_recipe

__all__ = ["Amounts", "Estimate", "Interval", "estimate_recipe"]
