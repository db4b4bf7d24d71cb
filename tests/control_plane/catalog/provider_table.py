"""docs/providers.md, made of what the code knows; `make providers` writes it.

Vendors and formats are rows of data (`kong_plugins/llm/vendors.py`). Whether a format's usage is exact is found out by
reading the captures in tests/corpus, and how many models have a price by looking into the data of genai-prices.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from genai_prices.data import providers

from control_plane.catalog.protocols import protocol_titles
from control_plane.catalog.vendors import CREDENTIAL_TITLES
from kong_plugins.llm.protocols import PROTOCOL_NAMES, wire_format
from kong_plugins.llm.vendors import VENDORS, Served, Vendor
from tests.llm.protocols.captures import EVENT_STREAM, capture, names_in, tapped

# The endings of captured streams, with the content type of each.
_STREAMS: Final = {
    ".sse": EVENT_STREAM,
    ".eventstream": "application/vnd.amazon.eventstream",
    ".ndjson": "application/x-ndjson",
    ".array": "application/json",
}
_HEADERS: Final = {
    "bearer": "`Authorization: Bearer`",
    None: "where the format has it",
}
_REGIONS: Final = {
    "deployment": "the deployment's `region`, which is part of the address",
    "account": "chosen with the account or the resource; write it into the deployment's `region`",
    "none": "not told by the vendor",
    "own": "where you run it",
}
_BEGINNING: Final = """# Providers

The vendors that a provider can name, the wire formats that each serves, and what is known of them. This page is
generated from the catalogue's data: change that, and run `make providers`. How credentials are given is in
[credentials.md](credentials.md).

- A client that speaks a wire format reaches every vendor that serves it; nothing is translated on the way.
- **Streamed**: whether answers may be event streams.
- **Usage exact**: whether the provider's own final count is read from its answers, plain and streamed. It is tried
  on captured answers of each format; those of chat completions come from {captured}.
  An answer that breaks off is charged at what can be bounded, and at its whole hold where nothing can.
- **Prices known**: how many of the vendor's models have a price in the data of genai-prices, which can be imported.
  Every price can be set by hand; without one, a call is refused under a hard budget.
- In an address, `{{region}}` is the deployment's region and `{{model}}` the provider's name of the model; what stands
  in capitals is your own, so that the provider needs a `base_url`.
"""


def page() -> str:
    """The whole document."""
    parts = [_BEGINNING.format(captured=_captured()), _overview()]
    parts += [_section(name, vendor) for name, vendor in VENDORS.items()]
    return "\n".join(parts)


def _overview() -> str:
    lines = [
        "## At a glance",
        "",
        "| provider | format | streamed | usage exact | prices known |",
        "|---|---|---|---|---|",
    ]
    for vendor in VENDORS.values():
        for protocol, _ in _served(vendor):
            cells = (vendor.title, _title(protocol), _streamed(protocol), _exact(protocol), _prices(vendor))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _section(name: str, vendor: Vendor) -> str:
    kinds = ", ".join(f"`{kind}` ({CREDENTIAL_TITLES[kind]})" for kind in vendor.credentials)
    lines = [f"## {vendor.title}", "", f"- `vendor`: `{name}`", f"- `authentication`: {kinds}"]
    lines.append(f"- Region: {_REGIONS[vendor.region]}")
    lines += [f"- {vendor.notes}"] if vendor.notes else []
    lines += [f"- Its own reference: <{vendor.docs}>"] if vendor.docs else []
    lines += ["", "| format | `protocol` | address | an API key goes into |", "|---|---|---|---|"]
    for protocol, served in _served(vendor):
        key = _HEADERS.get(served.key_header, f"`{served.key_header}`") if "api_key" in vendor.credentials else "–"
        lines.append(f"| {_title(protocol)} | `{protocol}` | `{served.base_url}` | {key} |")
    return "\n".join(lines) + "\n"


def _served(vendor: Vendor) -> Iterator[tuple[str, Served]]:
    for protocol in PROTOCOL_NAMES:
        served = vendor.serves(protocol)
        if served is not None:
            yield protocol, served


def _title(protocol: str) -> str:
    return protocol_titles()[protocol]


def _streamed(protocol: str) -> str:
    return "yes" if any(_ending(name) in _STREAMS for name in names_in(protocol)) else "no"


@cache
def _exact(protocol: str) -> str:
    """Whether a count was read from captures of every kind that there is."""
    read: dict[bool, bool] = {}
    for name in names_in(protocol):
        content_type = _STREAMS.get(_ending(name), "application/json")
        usage = wire_format(protocol).read_answer(tapped(capture(protocol, name), content_type=content_type)).usage
        is_stream = _ending(name) in _STREAMS
        read[is_stream] = read.get(is_stream, False) or usage is not None
    return "yes" if read and all(read.values()) else "no"


def _ending(name: str) -> str:
    return name[name.rindex(".") :]


def _prices(vendor: Vendor) -> str:
    counts = {provider.id: len(provider.models) for provider in providers}
    return "your own" if vendor.prices is None else f"{counts[vendor.prices]} models"


def _captured() -> str:
    """Whose chats were captured, for the format that most vendors serve."""
    names = {name.partition(".")[0].partition("-")[0] for name in names_in("openai_chat")}
    whose = [vendor.title for name, vendor in VENDORS.items() if {"google": "gemini"}.get(name, name) in names]
    return f"{', '.join(whose[:-1])} and {whose[-1]}"


if __name__ == "__main__":
    print(page(), end="")
