"""Writing `report.html`."""

from __future__ import annotations

from pathlib import Path

from factory import files
from factory.reporting.facts import ReportFacts
from factory.reporting.page import make_page


def write_report(path: Path, facts: ReportFacts) -> None:
    """Write the report as one self-contained file. Raises StorageFull, FactoryError (unreadable files of the run)."""
    files.write_atomic(path, make_page(facts).encode("utf-8", "replace"))
