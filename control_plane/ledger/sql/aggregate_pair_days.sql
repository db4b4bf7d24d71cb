-- Set what all teams together have used on one organization's day, by pairs, to what the day's sums say. Run again, it
-- changes nothing.
--
-- organization, day
WITH charge AS (
    SELECT
        "user", request_model, provider,
        CASE WHEN tags = '{}' THEN '{""}' ELSE tags END AS tags,
        coalesce(sum(requests) FILTER (WHERE kind <> 'adjusted'), 0) AS requests, sum(unpriced) AS unpriced,
        sum(input_tokens) AS input_tokens, sum(cache_read_tokens) AS cache_read_tokens,
        sum(cache_write_tokens) AS cache_write_tokens, sum(output_tokens) AS output_tokens,
        sum(amount_nusd) AS amount_nusd
    FROM ledger_dayrollup
    WHERE organization = %(organization)s AND day = %(day)s AND kind IN ('posted', 'expired', 'adjusted')
    GROUP BY "user", request_model, provider, tags
)
INSERT INTO ledger_pairday (
    organization, day, pair, first, second,
    requests, unpriced, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, amount_nusd
)
SELECT
    %(organization)s, %(day)s, pair, first, second,
    sum(requests), sum(unpriced), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
    sum(output_tokens), sum(amount_nusd)
FROM charge CROSS JOIN LATERAL (
    VALUES ('user,request_model', "user", request_model), ('user,provider', "user", provider)
    UNION ALL
    SELECT of_tag.pair, of_tag.first, tag
    FROM unnest(tags) AS tag CROSS JOIN LATERAL (
        VALUES ('user,tags', "user"), ('request_model,tags', request_model), ('provider,tags', provider)
    ) AS of_tag (pair, first)
) AS part (pair, first, second)
GROUP BY pair, first, second
ON CONFLICT (organization, pair, day, first, second) DO UPDATE SET
    requests = EXCLUDED.requests,
    unpriced = EXCLUDED.unpriced,
    input_tokens = EXCLUDED.input_tokens,
    cache_read_tokens = EXCLUDED.cache_read_tokens,
    cache_write_tokens = EXCLUDED.cache_write_tokens,
    output_tokens = EXCLUDED.output_tokens,
    amount_nusd = EXCLUDED.amount_nusd
