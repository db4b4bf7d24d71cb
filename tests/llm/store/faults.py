"""Faults that the tests of the scripts must find: each is a text of one script, and what is to stand there instead."""

from __future__ import annotations

from typing import Final, NamedTuple


class Fault(NamedTuple):
    """`name` says what it breaks; `right` stands exactly once in the script."""

    name: str
    script: str
    right: str
    wrong: str


FAULTS: Final = tuple(
    Fault(*fault)
    for fault in (
        # Holding.
        ("a hold is not counted", "reserve", "'held', integer_text(cost))", "'held', '0')"),
        ("what is held is free", "checks", "(tonumber(stored[4]) or 0) - budget.held", "(tonumber(stored[4]) or 0)"),
        ("what is spent is free", "checks", "budget.cap - (tonumber(stored[4]) or 0) -", "budget.cap -"),
        ("a repeat is held twice", "reserve", "if stored[1] then\n    return repeated", "if false then\n    return"),
        (
            "a resolved id is held again",
            "reserve",
            "if stored[1] then\n",
            "if stored[1] and cmsgpack.unpack(stored[1]).answer then\n",
        ),
        ("a decision by an old policy is admitted", "reserve", "tonumber(stored[3]) ~= call.policy_number", "false"),
        ("an emptied Redis admits", "reserve", "elseif not stored[2] then", "elseif false then"),
        ("a period lasts a millisecond too long", "checks", "now < period.end_ms", "now <= period.end_ms"),
        ("a probe is held", "reserve", "has_other)\n  if call.probe then", "has_other)\n  if false then"),
        (
            "a refusal is forgotten",
            "reserve",
            "redis.call('SET', KEYS[1], cmsgpack.pack({ state = 'denied', answer = answer }), 'PX', ARGV[4])",
            "",
        ),
        # Partial grants.
        ("half of a grant is all of it", "checks", "math.floor(above_floor / 2)", "above_floor"),
        ("a grant goes below the floor", "checks", "elseif budget.floor > budget.free then", "elseif false then"),
        ("the last budget decides a grant", "checks", "math.min(granted[budget.unit] or grant, grant)", "grant"),
        # Limits.
        (
            "a limit lets one more pass",
            "checks",
            "limit.used + limit.cost <= limit.amount",
            "limit.used < limit.amount",
        ),
        ("a shadow limit refuses", "checks", "if not limit.fits and not limit.shadow then", "if not limit.fits then"),
        ("the shortest wait is told", "checks", "limit_wait_ms > longest_ms then", "limit_wait_ms ~= 0 then"),
        ("a slot is never free by itself", "checks", "'(' .. integer_text(now), '+inf'", "'-inf', '+inf'"),
        ("a window has a slice too few", "ring", "local SLICES, SLOTS = 60, 61", "local SLICES, SLOTS = 60, 60"),
        ("a wait is a slice too short", "ring", "(slice + SLOTS - ring.drift)", "(slice + SLICES - ring.drift)"),
        ("the drift of a clock set back is lost", "ring", "drift = slice - clock_slice", "drift = drift"),
        ("a limit stands still at a refusal", "reserve", "limit.ring.was_set_back and not", "false and not"),
        ("a refund changes a later window", "ring", "if slice <= newest - SLOTS or", "if"),
        (
            "a refund frees the newest slice",
            "ring",
            "ring_write_over(key, slice, struct.pack(HEADER, newest, total",
            "ring_write_over(key, newest, struct.pack(HEADER, newest, total",
        ),
        # How a hold ends.
        ("a hold is never given back", "settle", "integer_text(-budget.cost)", "'0'"),
        ("a void keeps the tokens", "settle", "elseif limit.unit == 'tokens' then", "elseif tokens > 0 then"),
        (
            "a slot is kept",
            "settle",
            "if limit.unit == 'concurrency' then\n      redis.call('ZREM', limit.key, request_id)",
            "if limit.unit == 'concurrency' then",
        ),
        ("a void is a request", "post", "requests = kind == 'posted' and 1 or 0", "requests = 1"),
        (
            "late truth is not a difference",
            "settle",
            "difference = difference - budget.cost",
            "difference = difference",
        ),
        ("late truth is told in full", "post", "used.nusd - (hold.nusd or 0)", "used.nusd"),
        (
            "a call is posted twice",
            "post",
            "redis.call('ZREM', KEYS[2], request_id)\n  leave_tombstone(KEYS[1], kind, ARGV[6])",
            "",
        ),
        ("an expired hold is voided", "expire", "full[budget.unit] = budget.cost", "full[budget.unit] = 0"),
        ("a lease ends a millisecond early", "expire", "integer_text(now), 'LIMIT'", "integer_text(now + 1), 'LIMIT'"),
        ("a restored hold is counted twice", "settle", "hold.restored and 0 or used[budget.unit]", "used[budget.unit]"),
        ("a known hold is restored", "restore", "if redis.call('EXISTS', KEYS[1]) == 1 then", "if false then"),
        (
            "a difference is counted twice",
            "adjust",
            "if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then",
            "if false then",
        ),
        # Thresholds and caps.
        ("a threshold is told twice", "threshold", "redis.call('HSET', key, 'fired', fired)", ""),
        ("a threshold is told too late", "threshold", "spent >= share_of", "spent > share_of"),
        ("a threshold is rounded down", "cap", "percent + math.ceil(", "percent + math.floor("),
        ("a refusal reports nothing", "reserve", "fire_thresholds(check.key, KEYS[6], now, true)", ""),
        ("the version of a cap is ignored", "set_cap", "known > tonumber(ARGV[2])", "false"),
        ("a lowered cap reports nothing", "set_cap", "fire_thresholds(KEYS[1], KEYS[2], now_ms(), false)", ""),
        ("an extension never ends", "cap", "now < tonumber(until_ms) and tonumber(amount) or 0", "tonumber(amount)"),
        (
            "an extension is not for thresholds",
            "threshold",
            "cap_of(stored, now)",
            "cap_of({ stored[1], stored[2] }, now)",
        ),
        (
            "the cap of each goes before a user's own",
            "cap",
            "tonumber(stored[1] or stored[2])",
            "tonumber(stored[2] or stored[1])",
        ),
        ("large amounts lose digits", "number", "string.format('%.0f', number + 0)", "tostring(number)"),
        ("nothing is less than nothing", "number", "number + 0", "number"),
        # Shares and degrading.
        (
            "the share of a tier is the whole",
            "checks",
            "budget.tier and part_of(budget.cap, budget.share_percent)",
            "budget.tier and budget.cap",
        ),
        ("a share is counted as the pool", "reserve", "budget.tier and 'held:' .. budget.tier or 'held'", "'held'"),
        ("a share is never spent", "settle", "'spent' .. suffix", "'spent'"),
        ("nothing degrades", "checks", "not call.is_last and budget.refuses and", "false and"),
        ("the last candidate degrades", "checks", "not call.is_last and budget.refuses and", "budget.refuses and"),
        (
            "a candidate that is passed over is an event",
            "reserve",
            "if call.is_last then\n    write_refusal",
            "if true then\n    write_refusal",
        ),
        # Lines.
        ("a newcomer overtakes", "reserve", "call.place or end_of_tier(call.tier)", "call.place or 0"),
        (
            "who waits longest comes last",
            "line",
            "'-inf', '(' .. integer_text(place)",
            "'(' .. integer_text(place), '+inf'",
        ),
        ("the dead hold up the line", "line", "(tonumber(redis.call('ZSCORE', waiting, other)) or 0) > now", "true"),
        ("the living are taken for dead", "line", "now + SIGN_OF_LIFE_MS", "now"),
        (
            "a tier goes before a higher one",
            "line",
            "critical = 0, normal = 1, experimental = 2",
            "critical = 2, normal = 1, experimental = 0",
        ),
        (
            "a place is lost by asking again",
            "reserve",
            "local place = call.place or last_place",
            "local place = last_place",
        ),
        ("waiting never ends", "reserve", " - call.waited_ms", ""),
        ("waits longer than the caller wants to", "reserve", "call.patience_ms or queue_ms", "queue_ms"),
        ("stands where most are held up", "line", "breadth < least", "breadth > least"),
        ("waits for what is spent", "reserve", "budget.free + budget.held >= budget.floor", "true"),
        ("waits for no new period", "reserve", "or budget.period.end_ms <= until_ms", ""),
        (
            "waits for requests that come too late",
            "reserve",
            "limit.unit ~= 'requests' or now + limit_wait_ms <= until_ms",
            "true",
        ),
        ("stays in the line where it stood before", "line", "if earlier and earlier ~= line then", "if false then"),
        ("a line is kept for ever", "line", "redis.call('PEXPIRE', key, LINE_KEPT_MS)", ""),
        ("those who have gone are remembered", "line", "  forget_gone(waiting, now)\n", ""),
        (
            "refused money cannot be had by trying again",
            "reserve",
            "return deny(check, ASK_AGAIN_MS, now)",
            "return deny(check, -1, now)",
        ),
        ("what is free is refused", "checks", "budget.cost == 0 or ", ""),
        ("a share is rounded up", "checks", "part_of(budget.cap", "share_of(budget.cap"),
        ("a user's first refusal is not reported", "reserve", "if check.each_cap then", "if false then"),
        (
            "who was admitted holds up the line",
            "reserve",
            "leave()\n  return answer",
            "return answer",
        ),
        (
            "who was refused holds up the line",
            "reserve",
            "write_refusal(check, answer, now)\n    leave()",
            "write_refusal(check, answer, now)",
        ),
        ("who leaves holds up the line", "leave", "leave_line(KEYS[1], ARGV[1])", ""),
        (
            "nobody is told of a release",
            "line",
            "redis.call('PUBLISH', (string.gsub(waiting, 'waiting$', 'freed')), '')",
            "",
        ),
        ("a probe waits", "reserve", "if not call.probe then\n    keep_rings", "if true then\n    keep_rings"),
        (
            "who may not wait waits",
            "reserve",
            "if not call.may_wait or not call.is_last then",
            "if false then",
        ),
        # Failing deployments.
        (
            "a failing deployment serves",
            "reserve",
            "if mark and has_other and is_passed_over(mark, now) then",
            "if false then",
        ),
        ("where all are failing nobody is served", "reserve", "if mark and has_other and", "if mark and"),
        (
            "who is passed over is a candidate",
            "checks",
            "has_other = has_other or not (mark and",
            "has_other = not (nil and",
        ),
        ("only the last other candidate counts", "checks", "has_other = has_other or not", "has_other = not"),
        ("a mark lasts a millisecond too long", "failing", "now < mark.until_ms", "now <= mark.until_ms"),
        ("a trial is waited for for ever", "failing", "now < (mark.trial_until_ms or 0)", "mark.trial_until_ms"),
        ("all call at once when a mark ends", "reserve", "    begin_trial(mark, now)\n", ""),
        ("a call is its own trial again", "reserve", "if mark and not is_passed_over(mark, now) then", "if mark then"),
        ("a crowd is many failures", "mark", "not mark or reserved_at_ms > mark.marked_at_ms", "true"),
        ("an old success ends a mark", "mark", "and reserved_at_ms >= mark.marked_at_ms", ""),
        ("a success as quick as its mark is none", "mark", "reserved_at_ms >= mark", "reserved_at_ms > mark"),
        ("a success ends no mark", "mark", "return redis.call('HDEL', KEYS[1], deployment)", "return 1"),
        ("marks get no longer", "mark", "FIRST_MS * 2 ^ math.min(failures - 1, 10)", "FIRST_MS"),
        (
            "marks get longer without end",
            "mark",
            "FIRST_MS, LONGEST_MS = 1000, 60000",
            "FIRST_MS, LONGEST_MS = 1000, 6e7",
        ),
        ("what the provider asks for is nothing", "mark", "(asked_ms or is_news and", "(is_news and"),
        ("a late failure makes a mark longer", "mark", "asked_ms or is_news and backoff_ms", "asked_ms or backoff_ms"),
        ("a failure makes a mark shorter", "mark", "math.max(mark.until_ms, now", "math.max(0, now"),
        ("any end ends a trial", "mark", "if mark.trial == request_id then", "if true then"),
        ("a trial without a result goes on", "mark", "  end_trial(mark)\n  write(mark)\n  return 0", "  return 0"),
        ("a mark is kept for ever", "mark", "  redis.call('PEXPIRE', KEYS[1], KEPT_MS)\n", ""),
    )
)
