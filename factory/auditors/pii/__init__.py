"""Personal data and secrets in a text, by pattern, checksum, numbering plan and the words around.

Names of persons are not found by patterns. What is reserved for examples is found too, and told apart.
"""

from factory.auditors.pii.finding import KINDS, find_all, mask_all, masked
from factory.auditors.pii.found import Finding

__all__ = ["KINDS", "Finding", "find_all", "mask_all", "masked"]
