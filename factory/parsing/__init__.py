"""Parsing: a candidate's text against the recipe's `output`."""

from factory.parsing.output import Column, Output, Parsed, compile_output, describe, repair_messages

__all__ = ["Column", "Output", "Parsed", "compile_output", "describe", "repair_messages"]
