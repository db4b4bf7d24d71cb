"""What everything is called in Redis. All names of one organization carry its slug as the hash tag."""

from __future__ import annotations


def live_name(organization: str, rest: str) -> str:
    return f"bursar:{{{organization}}}:{rest}"


def key_name(key_id: str) -> str:
    return f"bursar:key:{key_id}"


def hold_name(organization: str, request_id: str) -> str:
    return live_name(organization, f"hold:{request_id}")


def budget_name(organization: str, budget_id: str, subject: str, period_name: str) -> str:
    return live_name(organization, f"budget:{budget_id}:{subject}:{period_name}")
