"""The two forms of a path: normalized where Kong compares it, escaped where Kong sends it (kong/tools/uri.lua)."""

from __future__ import annotations

import re
from typing import Final

_RESERVED: Final = b"!*'();:@&=+$,/?%#[]"
_TRIPLET: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_TO_ESCAPE: Final = re.compile(r"[^!#$&'()*+,/:;=?@\[\]A-Za-z0-9\-_.~%]")


def normalize(path: str) -> str:
    """Decode what is not reserved, drop dot segments, merge slashes. Characters are bytes (Latin-1)."""
    if "%" in path:
        path = _TRIPLET.sub(_decoded, path)
    if "." not in path and "//" not in path:
        return path
    segments: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    ends_in_slash = path.endswith(("/", "/.", "/.."))
    return "/" + "/".join(segments) + ("/" if ends_in_slash and segments else "")


def escape(path: str) -> str:
    """Make a path safe for a request line without changing its meaning."""
    return _TO_ESCAPE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("latin-1")), path)


def _decoded(match: re.Match[str]) -> str:
    byte = int(match[1], 16)
    return match[0].upper() if byte in _RESERVED else chr(byte)
