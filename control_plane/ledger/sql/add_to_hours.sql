-- Add to the sums of hours.
--
-- rows    JSON array of objects with the columns of ledger_hourrollup, each unique key once
INSERT INTO ledger_hourrollup AS rollup (
    organization, hour, day, team, key, "user", request_model, provider, kind, outcome, tags,
    requests, unpriced, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd, is_in_day
)
SELECT
    organization, hour, day, team, key, "user", request_model, provider, kind, outcome, tags,
    requests, unpriced, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd, false
FROM jsonb_populate_recordset(NULL::ledger_hourrollup, %(rows)s)
ON CONFLICT (organization, hour, team, key, "user", request_model, provider, kind, outcome, tags) DO UPDATE SET
    requests = rollup.requests + EXCLUDED.requests,
    unpriced = rollup.unpriced + EXCLUDED.unpriced,
    input_tokens = rollup.input_tokens + EXCLUDED.input_tokens,
    cache_read_tokens = rollup.cache_read_tokens + EXCLUDED.cache_read_tokens,
    cache_write_tokens = rollup.cache_write_tokens + EXCLUDED.cache_write_tokens,
    output_tokens = rollup.output_tokens + EXCLUDED.output_tokens,
    amount_nusd = rollup.amount_nusd + EXCLUDED.amount_nusd,
    is_in_day = false
