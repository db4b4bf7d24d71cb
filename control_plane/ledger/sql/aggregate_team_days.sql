-- Set what each team has used on one organization's day to what the day's sums say. Run again, it changes nothing.
--
-- organization, day
-- failures   the outcomes of calls that got no whole answer
INSERT INTO ledger_teamday (
    organization, day, team,
    requests, failed, refused, unpriced, input_tokens, output_tokens, amount_nusd
)
SELECT
    organization, day, team,
    coalesce(sum(requests) FILTER (WHERE kind IN ('posted', 'expired')), 0),
    coalesce(sum(requests) FILTER (WHERE outcome = ANY(%(failures)s)), 0),
    coalesce(sum(requests) FILTER (WHERE kind = 'refused'), 0),
    sum(unpriced), sum(input_tokens), sum(output_tokens), sum(amount_nusd)
FROM ledger_dayrollup
WHERE organization = %(organization)s AND day = %(day)s
GROUP BY organization, day, team
ON CONFLICT (organization, team, day) DO UPDATE SET
    requests = EXCLUDED.requests,
    failed = EXCLUDED.failed,
    refused = EXCLUDED.refused,
    unpriced = EXCLUDED.unpriced,
    input_tokens = EXCLUDED.input_tokens,
    output_tokens = EXCLUDED.output_tokens,
    amount_nusd = EXCLUDED.amount_nusd
