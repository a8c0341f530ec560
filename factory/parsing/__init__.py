"""Parsing: a candidate's text against the recipe's `output`."""

from factory.parsing.output import Column, Output, Parsed, compile_output, describe, repair_messages
from factory.parsing.server_schema import server_schema

__all__ = ["Column", "Output", "Parsed", "compile_output", "describe", "repair_messages", "server_schema"]
