//! What the ledger tells of boots that are over, for people.

use super::Ledger;

impl Ledger {
    /// One row of JSON: for each rule, the boots in a row in which it had nothing to do, and the last in which it had.
    pub(crate) fn evidence_query(&self) -> String {
        let (schema, application) = (self.quoted(), self.application());
        format!(
            "with ran as (
                select o.block, o.boot, bool_and(o.outcome = 'unchanged') as quiet
                from {schema}.outcomes o join {schema}.boots b on b.id = o.boot
                where b.application = {application} and o.outcome in ('applied', 'unchanged', 'deferred', 'failed')
                  and o.block in (select id from {schema}.blocks where application = {application} and kind = 'rule')
                group by o.block, o.boot),
             worked as (select block, max(boot) filter (where not quiet) as boot from ran group by block),
             quiet as (
                select w.block, w.boot as last, count(r.boot) as boots, min(b.started) as since
                from worked w left join ran r on r.block = w.block and r.boot > coalesce(w.boot, 0)
                left join {schema}.boots b on b.id = r.boot
                group by w.block, w.boot)
             select coalesce(jsonb_agg(jsonb_build_object('block', q.block, 'quiet_boots', q.boots, 'quiet_since', q.since, 'last', (
                select jsonb_build_object('boot', o.boot, 'started', o.started, 'outcome', o.outcome, 'rows', o.rows, 'journal', o.journal)
                from {schema}.outcomes o where o.boot = q.last and o.block = q.block order by o.attempt desc limit 1)) order by q.block), '[]')
             from quiet q"
        )
    }

    /// One row of JSON: the last boots, newest first, each with what its blocks did.
    pub(crate) fn boots_query(&self, boots: u32) -> String {
        let (schema, application) = (self.quoted(), self.application());
        format!(
            "select coalesce(jsonb_agg(to_jsonb(p) order by p.id desc), '[]') from (
                select b.id, b.started, b.finished, b.state, b.set_digest, b.host_version, b.build, b.instance, b.found, b.round_trips,
                       round((extract(epoch from b.finished - b.started) * 1000)::numeric, 1)::double precision as duration_ms,
                       b.error, (
                    select coalesce(jsonb_agg(jsonb_build_object('block', o.block, 'outcome', o.outcome, 'attempt', o.attempt,
                            'started', o.started, 'duration_ms', o.duration_ms, 'statements', o.statements, 'rows', o.rows,
                            'message', o.message, 'error', o.error, 'journal', o.journal) order by o.started, o.block), '[]')
                    from {schema}.outcomes o where o.boot = b.id) as outcomes
                from {schema}.boots b where b.application = {application} order by b.id desc limit {boots}) p"
        )
    }
}
