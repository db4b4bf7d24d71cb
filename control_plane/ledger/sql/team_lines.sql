-- What each team has used in a month, against its budget; a beginning that other statements go on from.
--
-- organization, organization_id
-- start, end       days, the end exclusive
-- week_start, week_end    the days that tell the rate, the end exclusive
-- period           the name of the month among the periods of budgets
-- teams            slugs, or NULL for all
WITH used AS (
    SELECT
        team,
        coalesce(sum(amount_nusd) FILTER (WHERE day >= %(start)s AND day < %(end)s), 0)::bigint AS spent_nusd,
        coalesce(sum(requests) FILTER (WHERE day >= %(start)s AND day < %(end)s), 0)::bigint AS requests,
        coalesce(sum(unpriced) FILTER (WHERE day >= %(start)s AND day < %(end)s), 0)::bigint AS unpriced,
        coalesce(sum(amount_nusd) FILTER (WHERE day >= %(week_start)s AND day < %(week_end)s), 0)::bigint AS week_nusd
    FROM ledger_teamday
    WHERE organization = %(organization)s
        AND (day >= %(start)s AND day < %(end)s OR day >= %(week_start)s AND day < %(week_end)s)
        AND (%(teams)s::text[] IS NULL OR team = ANY(%(teams)s))
    GROUP BY team
), capped AS (
    SELECT period.subject AS team, min(period.cap) AS cap_nusd
    FROM budgets_budgetperiod AS period
    JOIN budgets_budget AS budget ON budget.id = period.budget_id
    WHERE budget.organization_id = %(organization_id)s AND period.name = %(period)s
        AND budget.active AND budget.scope = 'team' AND budget.unit = 'nusd' AND budget.period = 'month'
        AND budget.model_id IS NULL AND budget.provider_id IS NULL AND budget.tag IS NULL
    GROUP BY period.subject
), known AS (
    SELECT team.slug, team.name, coalesce(nullif(team.cost_centre, ''), department.cost_centre) AS cost_centre
    FROM teams_team AS team
    LEFT JOIN teams_department AS department ON department.id = team.department_id
    WHERE team.organization_id = %(organization_id)s AND (%(teams)s::text[] IS NULL OR team.slug = ANY(%(teams)s))
), line AS (
    -- Calls of callers that nobody knows count for a team that has no row.
    SELECT
        coalesce(known.slug, used.team) AS team,
        coalesce(known.name, used.team) AS name,
        coalesce(known.cost_centre, '') AS cost_centre,
        coalesce(spent_nusd, 0) AS spent_nusd,
        coalesce(requests, 0) AS requests,
        coalesce(unpriced, 0) AS unpriced,
        coalesce(week_nusd, 0) AS week_nusd,
        cap_nusd
    FROM known
    FULL JOIN used ON used.team = known.slug
    LEFT JOIN capped ON capped.team = coalesce(known.slug, used.team)
)
