"""Auditors: each a function of the finished rows, real rows to compare with, and what else is known.

    def auditor(dataset: Data, reference: Data | None, context: AuditContext, *, options…) -> list[Check]: ...

Keyword-only parameters are the auditor's options in a recipe; the third parameter may be left out; a coroutine is
awaited, so that it may ask models. An auditor that cannot measure says so by a check that is INCONCLUSIVE, with what to
give; it raises UsageError only for options and data that make no sense. Verdicts of checks that bring a `Test` are
given afterwards, for all checks of the audit at once.
"""

from factory.auditors.context import Answer, AuditContext
from factory.auditors.data import Data, read_data

__all__ = ["Answer", "AuditContext", "Data", "read_data"]
