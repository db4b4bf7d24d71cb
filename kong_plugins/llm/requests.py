"""Who asks, and what is asked of a model, whatever the wire format."""

from __future__ import annotations

from typing import Final

import msgspec

from kong_plugins.llm.errors import InvalidRequest
from kong_plugins.llm.keys import Principal
from kong_plugins.llm.tokens import Prompt
from kong_plugins.llm.usage import STANDARD_TIER

MAX_USER_LENGTH: Final = 128
# Headers in which a request chooses what may have a price of its own.
OPTION_PREFIX: Final = "x-amzn-bedrock-"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A principal with what later steps need to know of its request's headers. `dry_run`: it only asks; `max_wait_ms`:
    how long it may wait in a line, None for as long as it takes; `may_degrade`: another model may serve it;
    `takes_partial`: it goes on with fewer tokens than it asks for; `betas`: the provider's trials it takes part in;
    `options`: the headers, by their names, that begin with `OPTION_PREFIX`.

    `extra_input_tokens`: what plugins behind the guard add to its prompt at most; `may_name_stored`: it may name what
    lies in the provider's account. `would_be_refused`: the code of the error that it would get, were its route not only
    observed."""

    principal: Principal
    content_length: int | None = None
    content_encoding: str = ""
    content_type: str = ""
    trace_id: str | None = None
    betas: tuple[str, ...] = ()
    options: dict[str, str] = {}
    dry_run: bool = False
    max_wait_ms: int | None = None
    may_degrade: bool = True
    takes_partial: bool = True
    extra_input_tokens: int = 0
    may_name_stored: bool = False
    would_be_refused: str | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request stands outside its body: the path and query as they came, where its wire format reads them, and
    the `betas` and `options` that its headers name."""

    path: str = ""
    query: str = ""
    betas: tuple[str, ...] = ()
    options: dict[str, str] = {}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where under a provider's address a call goes."""

    path: str
    query: str = ""


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call as asked for. `choices` is the number of answers, each of which may take the maximum of tokens;
    `wants_usage`: the client has asked for the usage chunk of its stream; `user` is the end user that it names.
    `has_output`: tokens are written at all; `is_divisible`: the request bounds how many, so that less than it asks for
    can be granted. `units` are the most pieces of each kind (`usage.Usage`) that it can be billed for, except for the
    `unbounded_units`, of which that is a guess; `service_tiers` are those at which it may be billed.

    `thinks`: the model may spend output on reasoning of which the client sees less; None where that is the model's own
    way. `thinking_tokens`: as many are set apart for it in the maximum, and an answer needs more than them;
    `more_thinking_tokens`: as many may be billed beside the maximum, None for as many as the model may think.
    `way` is what the wire format has to know of the path and query to find the call's place at a provider.
    `writes_1h`: the request asks the provider to keep some of the prompt in its cache for an hour. `stored`: where it
    names something that lies in the provider's account, such as an earlier response or a file.
    """

    model: str
    prompt: Prompt
    stream: bool = False
    wants_usage: bool = False
    choices: int = 1
    requested_max_tokens: int | None = None
    user: str | None = None
    thinks: bool | None = None
    thinking_tokens: int = 0
    more_thinking_tokens: int | None = 0
    way: str = ""
    writes_1h: bool = False
    stored: str | None = None
    has_output: bool = True
    is_divisible: bool = True
    units: dict[str, int] = {}
    unbounded_units: tuple[str, ...] = ()
    service_tiers: tuple[str, ...] = (STANDARD_TIER,)


def check_stored(caller: Caller, request: ModelRequest) -> None:
    """An account serves many teams, and whoever knows the id of what lies there can have a model read it.

    Raises:
        InvalidRequest: the request names such a thing on a route where nobody may.
    """
    if request.stored is not None and not caller.may_name_stored:
        raise InvalidRequest(
            f"{request.stored} names what lies in the provider's account, where it may be another team's. Send the "
            "content itself, or use a route whose account is one team's alone (stored_context).",
            param=request.stored,
        )


def chosen_user(label: str | None, *, param: str, selects: bool) -> str | None:
    """The label of a caller's own user as it is recorded, without blanks around it, as caps name users too; one that is
    too long or cannot be printed is dropped.

    Raises:
        InvalidRequest: such a label in `param` was to select a user's limits.
    """
    label = (label or "").strip()
    if not label:
        return None
    if len(label) <= MAX_USER_LENGTH and label.isprintable():
        return label
    if selects:
        raise InvalidRequest(f"A user's name has at most {MAX_USER_LENGTH} printable characters.", param=param)
    return None
