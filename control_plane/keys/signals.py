"""What keys tell the apps above them."""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

# Sent with `organization` and `reminders`, the newest `KeyReminder`s of it, inside the transaction that notes them.
# What a receiver writes is committed with that, or not at all.
keys_fall_due: Final = Signal()
