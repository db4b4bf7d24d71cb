-- Insert events; one whose id is in the ledger already is left as it is.
--
-- rows    JSON array of objects with the columns of ledger_usageevent, each event_id once
-- Result: the event_id of each row that was really inserted. Ids of rows rise as their events happened.
--
-- An index over partitions cannot enforce that event_id alone is unique: a truth that comes when its hold is long
-- forgotten has the same id and another reserved_at. So the caller records one batch of an organization at a time.
INSERT INTO ledger_usageevent (
    event_id, request_id, kind, outcome, http_status, organization, team, key, "user", tags, tier, protocol,
    provider, deployment, region, request_model, response_model, input_tokens, cache_read_tokens,
    cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, input_audio_tokens, cache_read_audio_tokens,
    input_image_tokens, cache_read_image_tokens, input_video_tokens, output_audio_tokens, output_image_tokens,
    output_video_tokens, units, service_tier, quality, amount_nusd, hold_nusd,
    price_version, release,
    candidates, refusing_scope, requested_max_tokens, granted_max_tokens, input_bound_tokens, seq, reserved_at,
    posted_at, latency_ms, first_token_ms, trace_id, degraded_from, queued_ms, shadow_refusals
)
SELECT
    event_id, request_id, kind, outcome, http_status, organization, team, key, "user", tags, tier, protocol,
    provider, deployment, region, request_model, response_model, input_tokens, cache_read_tokens,
    cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, input_audio_tokens, cache_read_audio_tokens,
    input_image_tokens, cache_read_image_tokens, input_video_tokens, output_audio_tokens, output_image_tokens,
    output_video_tokens, units, service_tier, quality, amount_nusd, hold_nusd,
    price_version, release,
    candidates, refusing_scope, requested_max_tokens, granted_max_tokens, input_bound_tokens, seq, reserved_at,
    posted_at, latency_ms, first_token_ms, trace_id, degraded_from, queued_ms, shadow_refusals
FROM jsonb_populate_recordset(NULL::ledger_usageevent, %(rows)s) AS event
WHERE NOT EXISTS (SELECT FROM ledger_usageevent AS known WHERE known.event_id = event.event_id)
ORDER BY seq
ON CONFLICT (event_id, reserved_at) DO NOTHING
RETURNING event_id
