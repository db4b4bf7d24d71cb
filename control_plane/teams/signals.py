"""What teams tell the apps above them."""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

# Sent with `user`, who was switched off, or lost what they had in one organization, then with its `organization_id`,
# which else is None; inside the transaction that does it. What a receiver writes is committed with that, or not at all.
person_left: Final = Signal()
