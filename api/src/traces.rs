//! Traces of boots: a span for the boot, one for each block with its rows, locks and statements.
//!
//! When things happened comes from the host's events, what they did from its report.

mod collector;

pub use collector::Collector;
use opentelemetry::{
    Context, KeyValue, StringValue, Value,
    trace::{Event, Span, SpanBuilder, SpanKind, Status, TraceContextExt, TracerProvider},
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use plinth::{Event as Happened, Outcome, Report};
use std::{collections::BTreeMap, time::SystemTime};
use tokio::{sync::broadcast, task::JoinHandle};

/// Statements of a block that are told one by one.
const STATEMENTS: usize = 100;

/// Where spans go; nowhere, if no collector is configured.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

/// What happened in a boot, with its time.
pub struct Recording {
    began: SystemTime,
    blocks: JoinHandle<BTreeMap<String, Times>>,
}

/// When a block ran and when it sent what. The last try counts.
#[derive(Clone, Debug)]
struct Times {
    began: SystemTime,
    ended: SystemTime,
    statements: Vec<(SystemTime, String)>,
}

impl Traces {
    /// Sends spans to a collector, if there is one.
    pub fn to(collector: Option<Collector>) -> Traces {
        let resource = Resource::builder_empty().with_service_name("plinth-api").build();
        Traces(collector.map(|to| SdkTracerProvider::builder().with_batch_exporter(to).with_resource(resource).build()))
    }

    /// Notes what happens from here on, until the boot is over.
    pub fn record(&self, events: broadcast::Receiver<Happened>) -> Option<Recording> {
        self.0.as_ref()?;
        Some(Recording { began: SystemTime::now(), blocks: tokio::spawn(listen(events)) })
    }

    /// Writes the spans of a boot that is over.
    pub async fn write(&self, recording: Option<Recording>, report: Option<&Report>, error: Option<String>) {
        let (Some(provider), Some(Recording { began, blocks })) = (&self.0, recording) else { return };
        let ended = SystemTime::now();
        let times = blocks.await.unwrap_or_default();
        let tracer = provider.tracer("plinth");
        let mut boot = SpanBuilder::from_name("boot").with_kind(SpanKind::Internal).with_start_time(began).start(&tracer);
        if let Some(report) = report {
            boot.set_attribute(KeyValue::new("plinth.boot", report.boot.id.unwrap_or_default()));
            boot.set_attribute(KeyValue::new("plinth.state", report.boot.state.as_str()));
            boot.set_attribute(KeyValue::new("plinth.round_trips", number(report.boot.round_trips)));
        }
        if let Some(error) = error {
            boot.set_status(Status::error(error));
        }
        let within = Context::new().with_span(boot);
        for block in report.iter().flat_map(|report| &report.blocks) {
            let Some(times) = times.get(&block.id) else { continue };
            let rows: u64 = block.rows.values().map(plinth::RowCounts::total).sum();
            let list = |texts: Vec<String>| Value::Array(texts.into_iter().map(StringValue::from).collect::<Vec<_>>().into());
            let by_table = block.rows.iter().map(|(table, rows)| format!("{table}: {}", rows.total())).collect();
            let locks = block.locks.iter().map(|lock| format!("{} on {}", lock.mode, lock.object)).collect();
            let attributes = [
                KeyValue::new("plinth.block", block.id.clone()),
                KeyValue::new("plinth.kind", block.kind.as_str()),
                KeyValue::new("plinth.outcome", block.outcome.as_str()),
                KeyValue::new("plinth.statements", number(block.statements)),
                KeyValue::new("plinth.rows", number(rows)),
                KeyValue::new("plinth.rows_by_table", list(by_table)),
                KeyValue::new("plinth.locks", list(locks)),
            ];
            let sent = times
                .statements
                .iter()
                .map(|(at, sql)| Event::new("statement", *at, vec![KeyValue::new("db.query.text", sql.clone())], 0));
            let name = format!("block {}", block.id);
            let builder =
                SpanBuilder::from_name(name).with_start_time(times.began).with_attributes(attributes).with_events(sent.collect());
            let mut span = builder.start_with_context(&tracer, &within);
            if block.outcome == Outcome::Failed {
                span.set_status(Status::error(block.error.as_ref().map(ToString::to_string).unwrap_or_default()));
            }
            span.end_with_timestamp(times.ended);
        }
        within.span().end_with_timestamp(ended);
        let provider = provider.clone();
        // A collector that does not answer is waited for, on no thread of the runtime.
        let _ = tokio::task::spawn_blocking(move || provider.force_flush()).await;
    }
}

async fn listen(mut events: broadcast::Receiver<Happened>) -> BTreeMap<String, Times> {
    let mut blocks: BTreeMap<String, Times> = BTreeMap::new();
    loop {
        match events.recv().await {
            Ok(Happened::Block { id, .. }) => {
                let now = SystemTime::now();
                blocks.insert(id, Times { began: now, ended: now, statements: Vec::new() });
            }
            Ok(Happened::Statement { block, sql, .. }) => {
                if let Some(times) = blocks.get_mut(&block).filter(|times| times.statements.len() < STATEMENTS) {
                    times.statements.push((SystemTime::now(), sql));
                }
            }
            Ok(Happened::Ended { block, .. }) => {
                if let Some(times) = blocks.get_mut(&block) {
                    times.ended = SystemTime::now();
                }
            }
            Ok(Happened::Finished { .. }) | Err(broadcast::error::RecvError::Closed) => return blocks,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(missed)) => tracing::debug!(missed, "events were missed"),
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
