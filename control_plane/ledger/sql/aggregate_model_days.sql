-- Set what all teams have used on one organization's day of each model to what the day's sums say. Run again, it changes nothing.
--
-- organization, day
-- failures   the outcomes of calls that got no whole answer
INSERT INTO ledger_modelday (
    organization, day, request_model, provider,
    requests, failed, refused, unpriced, input_tokens, output_tokens, amount_nusd
)
SELECT
    organization, day, request_model, provider,
    coalesce(sum(requests) FILTER (WHERE kind IN ('posted', 'expired')), 0),
    coalesce(sum(requests) FILTER (WHERE outcome = ANY(%(failures)s)), 0),
    coalesce(sum(requests) FILTER (WHERE kind = 'refused'), 0),
    sum(unpriced), sum(input_tokens), sum(output_tokens), sum(amount_nusd)
FROM ledger_dayrollup
WHERE organization = %(organization)s AND day = %(day)s
GROUP BY organization, day, request_model, provider
ON CONFLICT (organization, day, request_model, provider) DO UPDATE SET
    requests = EXCLUDED.requests,
    failed = EXCLUDED.failed,
    refused = EXCLUDED.refused,
    unpriced = EXCLUDED.unpriced,
    input_tokens = EXCLUDED.input_tokens,
    output_tokens = EXCLUDED.output_tokens,
    amount_nusd = EXCLUDED.amount_nusd
