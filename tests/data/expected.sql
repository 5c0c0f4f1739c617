-- What must be so after one boot of all blocks on production_like.sql, and after every further one: each row says what and how
-- many rows are wrong. All are to be 0. Suites that came later are judged only where no former state is needed.
with suite as (
  select now.*, before.external_cost_cents as cost_before, before.input as input_before, capability.kind, capability.cents,
    before.active and before.test_mode is not distinct from 'live'
      and before.test_type in ('known_answer', 'edge_case', 'negative', 'known_bad') as live
  from before_boot.test_suites as before
  join before_boot.capability on capability.slug = before.capability_slug
  left join test_suites as now using (id)
)
select 'capabilities that the data has no free live suite of' as what, count(*) as wrong
from before_boot.capability
where not exists (select from suite where capability_slug = slug and live and cost_before = 0)
union all
select 'cases that the data lacks', count(*) filter (where not there)
from (
  select unnest(array[
    bool_or(not live and active and external_cost_cents = 0 and cents > 0),
    bool_or(not active and test_mode = 'live'),
    bool_or(test_mode is null),
    bool_or(live and cost_before is null and cents > 0),
    bool_or(live and cost_before = 7 and cents > 0),
    bool_or(live and input_before->>'company' = 'AAPL' and kind = 'us company'),
    bool_or(live and input_before->>'company' = 'MSFT' and kind = 'us company'),
    bool_or(not active and test_mode = 'live' and input_before->>'company' = 'AAPL' and kind = 'us company'),
    bool_or(test_mode = 'fixture' and active and input_before->>'company' = 'AAPL' and kind = 'us company'),
    count(distinct test_status) = 5
  ]) as there
  from suite
) as cases
union all
select 'live suites that cost 0, now at the cost of: ' || kind, count(*) filter (where external_cost_cents is distinct from cents)
from suite
where live and cost_before = 0
group by kind
union all
select 'suites that are not live, or cost something or nobody knows what: cost as before', count(*)
from suite
where (not live or cost_before is distinct from 0) and external_cost_cents is distinct from cost_before
union all
select 'eligible exactly where the cost is 0, NULL not', count(*)
from test_suites
where scheduled_testing_eligible is distinct from coalesce(external_cost_cents = 0, false)
union all
select 'live suites of us-company-data that asked for AAPL: 320193, the rest of the input as before', count(*)
from suite
where kind = 'us company' and live and input_before->>'company' = 'AAPL'
  and input is distinct from input_before || '{"company": "320193"}'
union all
select 'all other inputs as before', count(*)
from suite
where not (kind = 'us company' and live and input_before->>'company' = 'AAPL') and input is distinct from input_before
-- The rows as they were, updated_at included, but for what the blocks own. What blocks add later is no difference.
union all
select 'suites as before, but for cost, eligibility and input', count(*)
from before_boot.test_suites as before left join test_suites as now using (id)
where (to_jsonb(now) @> (to_jsonb(before) - array['external_cost_cents', 'input'])) is not true
union all
select 'capabilities as before', count(*)
from before_boot.capabilities as before left join capabilities as now using (id)
where (to_jsonb(now) @> to_jsonb(before)) is not true
union all
select 'results as before', count(*)
from before_boot.test_results as before left join test_results as now using (id)
where (to_jsonb(now) @> to_jsonb(before)) is not true
union all
select 'runs as before', count(*)
from before_boot.test_run_log as before left join test_run_log as now using (id)
where (to_jsonb(now) @> to_jsonb(before)) is not true
union all
select 'transactions as before', count(*)
from before_boot.transactions as before left join transactions as now using (id)
where (to_jsonb(now) @> to_jsonb(before)) is not true
union all
select 'new columns at their defaults', (select count(*) from test_run_log where actual_cost_cents <> 0)
  + (select count(*) from transactions where legal_hold or integrity_hash is not null or previous_hash is not null)
  + (select count(*) from capabilities where not marketplace_eligible or marketplace_eligible_reason is not null)
union all
select 'index on (test_suite_id, executed_at DESC), valid', 1 - count(*)
from pg_index
where indexrelid = to_regclass('test_results_suite_executed_idx') and indisvalid
  and pg_get_indexdef(indexrelid) like '%ON public.test_results USING btree (test_suite_id, executed_at DESC)'
union all
select 'index on transactions (integrity_hash), valid', 1 - count(*)
from pg_index
where indexrelid = to_regclass('transactions_integrity_hash_idx') and indisvalid
  and pg_get_indexdef(indexrelid) like '%ON public.transactions USING btree (integrity_hash)';
