"""The plan: which rows there are, and what is drawn for each."""

from factory.planning.plan import Plan, compile_plan, known_names

__all__ = ["Plan", "compile_plan", "known_names"]
