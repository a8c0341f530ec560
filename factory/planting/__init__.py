"""`factory canaries`: secrets that nobody has, planted in a copy of real rows, so that an audit can look for them."""

from factory.planting.copying import CANARIES, PLANTED, SUMMARY, Planting, plant_canaries

__all__ = ["CANARIES", "PLANTED", "SUMMARY", "Planting", "plant_canaries"]
