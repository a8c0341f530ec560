"""An audit: auditors look at the finished rows, and verdicts are given for all their checks at once."""

from factory.auditing.concluding import ALPHA, conclude
from factory.auditing.report import Audit, write_json
from factory.auditing.running import failed, run_auditors

__all__ = ["ALPHA", "Audit", "conclude", "failed", "run_auditors", "write_json"]
