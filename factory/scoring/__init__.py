"""Scores of a row's candidates: scorers are compiled once, run on one row, and add up to a total; `select` ranks."""

from factory.scoring.checking import check_bounds, check_min_score, check_options
from factory.scoring.compiled import Scorer, Scorers, compile_scorers
from factory.scoring.running import in_order_of_expense, score
from factory.scoring.selection import diversify, select

__all__ = [
    "Scorer", "Scorers", "check_bounds", "check_min_score", "check_options", "compile_scorers", "diversify",
    "in_order_of_expense", "score", "select",
]  # fmt: skip
