"""Reads a request that is a form, by aiohttp's own reader: fields are texts, files bytes."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from demo.simulator.errors import invalid


def is_form(request: web.Request) -> bool:
    return request.content_type == "multipart/form-data"


async def read_form(request: web.Request, data: bytes) -> dict[str, Any]:
    """The form's values by their names; all those of a name that ends in `[]`.

    Raises:
        ProviderError: it is no form.
    """
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), limit=len(data) + 1, loop=loop)
    stream.feed_data(data)
    stream.feed_eof()
    found: dict[str, Any] = {}
    try:
        async for part in MultipartReader(request.headers, stream):
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise invalid("Could not parse multipart form: a part has no name.")
            value = bytes(await part.read()) if part.filename is not None else await part.text()
            if part.name.endswith("[]"):
                found.setdefault(part.name, []).append(value)
            else:
                found[part.name] = value
    except ValueError as error:
        raise invalid("Could not parse multipart form.") from error
    return found
