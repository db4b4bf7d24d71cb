-- Keep counts of refusals. They only rise: a Redis that has lost its counts begins anew, and lowers none.
--
-- rows    JSON array of objects with the columns of ledger_refusalcount, each unique key once
INSERT INTO ledger_refusalcount AS known (organization, hour, team, refusing_scope, calls)
SELECT organization, hour, team, refusing_scope, calls
FROM jsonb_populate_recordset(NULL::ledger_refusalcount, %(rows)s)
ORDER BY team, refusing_scope
ON CONFLICT (organization, hour, team, refusing_scope) DO UPDATE SET calls = EXCLUDED.calls
WHERE known.calls < EXCLUDED.calls
