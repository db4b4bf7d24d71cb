"""What the ledger tells the apps above it."""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

# Sent inside the transaction that records a batch, with `crossings`: its `kong_plugins.llm.events.ThresholdEvent`s.
# One can come more than once. What a receiver writes is committed with the batch, or not at all.
thresholds_crossed: Final = Signal()
