-- Set the sums of one organization's day to those of its hours. Run again, it changes nothing.
INSERT INTO ledger_dayrollup (
    organization, day, team, key, "user", request_model, provider, kind, outcome, tags,
    requests, unpriced, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd
)
SELECT
    organization, day, team, key, "user", request_model, provider, kind, outcome, tags,
    sum(requests), sum(unpriced), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
    sum(output_tokens), sum(amount_nusd)
FROM ledger_hourrollup
WHERE organization = %(organization)s AND day = %(day)s
GROUP BY organization, day, team, key, "user", request_model, provider, kind, outcome, tags
ON CONFLICT (organization, day, team, key, "user", request_model, provider, kind, outcome, tags) DO UPDATE SET
    requests = EXCLUDED.requests,
    unpriced = EXCLUDED.unpriced,
    input_tokens = EXCLUDED.input_tokens,
    cache_read_tokens = EXCLUDED.cache_read_tokens,
    cache_write_tokens = EXCLUDED.cache_write_tokens,
    output_tokens = EXCLUDED.output_tokens,
    amount_nusd = EXCLUDED.amount_nusd
