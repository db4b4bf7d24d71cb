"""What forecasts tell the apps above them."""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

# Sent with `forecast` inside the transaction that notes it as told: once when its date first appears in a period, once
# more if the date, having been further away, comes near. What a receiver writes is committed with that, or not at all.
exceeding_foreseen: Final = Signal()
