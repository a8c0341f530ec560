"""Scorers on any dataset, and how well they tell good from bad: `factory score`."""

from factory.assessing.walk import Assessment, Wanted, assess

__all__ = ["Assessment", "Wanted", "assess"]
