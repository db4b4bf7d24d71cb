-- Set what all teams have used on one organization's day of each model to what the day's sums say. Run again, it changes nothing.
--
-- organization, day
-- failures   the outcomes of calls that got no whole answer
INSERT INTO ledger_modelday (
    organization, day, request_model, provider,
    requests, failed, refused, unpriced, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd
)
SELECT
    organization, day, request_model, provider,
    coalesce(sum(requests) FILTER (WHERE kind IN ('posted', 'expired')), 0),
    coalesce(sum(requests) FILTER (WHERE outcome = ANY(%(failures)s)), 0),
    coalesce(sum(requests) FILTER (WHERE kind = 'refused'), 0),
    coalesce(sum(unpriced) FILTER (WHERE kind IN ('posted', 'expired', 'adjusted')), 0),
    coalesce(sum(input_tokens) FILTER (WHERE kind IN ('posted', 'expired', 'adjusted')), 0),
    coalesce(sum(cache_read_tokens) FILTER (WHERE kind IN ('posted', 'expired', 'adjusted')), 0),
    coalesce(sum(cache_write_tokens) FILTER (WHERE kind IN ('posted', 'expired', 'adjusted')), 0),
    coalesce(sum(output_tokens) FILTER (WHERE kind IN ('posted', 'expired', 'adjusted')), 0),
    coalesce(sum(amount_nusd) FILTER (WHERE kind IN ('posted', 'expired', 'adjusted')), 0)
FROM ledger_dayrollup
WHERE organization = %(organization)s AND day = %(day)s
GROUP BY organization, day, request_model, provider
ON CONFLICT (organization, day, request_model, provider) DO UPDATE SET
    requests = EXCLUDED.requests,
    failed = EXCLUDED.failed,
    refused = EXCLUDED.refused,
    unpriced = EXCLUDED.unpriced,
    input_tokens = EXCLUDED.input_tokens,
    cache_read_tokens = EXCLUDED.cache_read_tokens,
    cache_write_tokens = EXCLUDED.cache_write_tokens,
    output_tokens = EXCLUDED.output_tokens,
    amount_nusd = EXCLUDED.amount_nusd
