"""The report of an audit: one page that opens by itself, and what a dataset card shows of it."""

from factory.reporting.card_parts import card_plots, card_summary
from factory.reporting.facts import ReportFacts, RunFiles, run_files
from factory.reporting.story import tell_story
from factory.reporting.writing import write_report

__all__ = ["ReportFacts", "RunFiles", "card_plots", "card_summary", "run_files", "tell_story", "write_report"]
