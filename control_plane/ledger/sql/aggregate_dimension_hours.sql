-- Set what all teams together have used in each hour of one organization's day to what the sums of hours say. Run again,
-- it changes nothing.
--
-- organization, day
WITH charge AS (
    SELECT
        hour, "user", request_model, provider,
        CASE WHEN tags = '{}' THEN '{""}' ELSE tags END AS tags,
        coalesce(sum(requests) FILTER (WHERE kind <> 'adjusted'), 0) AS requests, sum(unpriced) AS unpriced,
        sum(input_tokens) AS input_tokens, sum(cache_read_tokens) AS cache_read_tokens,
        sum(cache_write_tokens) AS cache_write_tokens, sum(output_tokens) AS output_tokens,
        sum(amount_nusd) AS amount_nusd
    FROM ledger_hourrollup
    WHERE organization = %(organization)s AND day = %(day)s AND kind IN ('posted', 'expired', 'adjusted')
    GROUP BY hour, "user", request_model, provider, tags
)
INSERT INTO ledger_dimensionhour (
    organization, day, dimension, hour, value,
    requests, unpriced, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd
)
SELECT
    %(organization)s, %(day)s, dimension, hour, value,
    sum(requests), sum(unpriced), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
    sum(output_tokens), sum(amount_nusd)
FROM charge CROSS JOIN LATERAL (
    VALUES ('user', "user"), ('request_model', request_model), ('provider', provider)
    UNION ALL
    SELECT 'tags', tag FROM unnest(tags) AS tag
) AS part (dimension, value)
GROUP BY dimension, hour, value
ON CONFLICT (organization, dimension, hour, day, value) DO UPDATE SET
    requests = EXCLUDED.requests,
    unpriced = EXCLUDED.unpriced,
    input_tokens = EXCLUDED.input_tokens,
    cache_read_tokens = EXCLUDED.cache_read_tokens,
    cache_write_tokens = EXCLUDED.cache_write_tokens,
    output_tokens = EXCLUDED.output_tokens,
    amount_nusd = EXCLUDED.amount_nusd
