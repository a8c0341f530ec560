"""Any dataset cleaned: duplicates out (`factory dedup`)."""

from factory.cleaning.deduplicating import Cleaned, Step, Wanted, deduplicate

__all__ = ["Cleaned", "Step", "Wanted", "deduplicate"]
