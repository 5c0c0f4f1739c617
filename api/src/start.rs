//! The order at start, and the way out.

use crate::{
    behind,
    config::{Config, ConfigError},
    http,
    invariant::{self, Found},
    reason::reason,
    scheduler::Minute,
    service::{Phase, Refused, Service},
    traces::Traces,
};
use axum::Router;
use plinth::{BootError, Outcome};
use std::{net::SocketAddr, pin::pin, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The boot failed.
    #[error("the boot failed: {0}")]
    Boot(Box<BootError>),
    /// The data cannot be looked at.
    #[error("the data cannot be validated: {0}")]
    Unreadable(String),
    /// The data breaks the invariant.
    #[error("the invariant is broken: {0}")]
    Broken(Found),
}

/// Starts, serves until `stop` is done, and ends in order.
///
/// # Errors
///
/// [`StartError`]. Nothing of the API was served then, and what the boot committed before it failed is whole.
pub async fn start(config: Config, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let mut stop = pin!(stop);
    let (health_at, listen_at) = (config.health, config.listen);
    let service = Arc::new(Service::new(config.clone(), config.pool()?, Traces::to(config.collector.clone())));
    let (stopping, stopped) = watch::channel(false);
    // First of all: a probe that asks while a long migration runs gets an answer.
    let health = tokio::spawn(serve(bind(health_at).await?, http::health_routes(service.clone()), stopped.clone()));
    let served = match prepare(&service, &mut stop).await {
        Ok(()) => serve_all(&service, listen_at, &mut stop, stopped).await,
        Err(error) => Err(error),
    };
    service.enter(if served.is_ok() { Phase::Stopping } else { Phase::Failed });
    let _ = stopping.send(true);
    let _ = tokio::time::timeout(config.grace, health).await;
    served
}

/// The boot and the look at the data. Until both are done, nothing of the API listens.
async fn prepare(service: &Service, stop: &mut (impl Future<Output = ()> + Unpin)) -> Result<(), StartError> {
    service.boot(stop).await.map_err(|refused| match refused {
        Refused::Failed(error) => StartError::Boot(error),
        Refused::Busy => StartError::Unreadable("another boot runs in this process".into()),
    })?;
    service.enter(Phase::Validating);
    let client = service.pool.get().await.map_err(|error| StartError::Unreadable(reason(&error)))?;
    let unreadable = |error: tokio_postgres::Error| StartError::Unreadable(reason(&error));
    let found = invariant::check(&client).await.map_err(unreadable)?;
    if !found.holds() {
        return Err(StartError::Broken(found));
    }
    if let Some(forgotten) = invariant::forgotten(&client).await.map_err(unreadable)? {
        service.warn(forgotten);
    }
    Ok(())
}

/// The scheduler, then the API's own listener, and the backfills that the boot left; until somebody wants it to stop.
async fn serve_all(
    service: &Arc<Service>,
    address: SocketAddr,
    stop: &mut (impl Future<Output = ()> + Unpin),
    stopped: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let (stopping, scheduling) = watch::channel(false);
    let scheduler = tokio::spawn(schedule(service.clone(), scheduling.clone()));
    let listener = bind(address).await?;
    let backfills = tokio::spawn(behind::run(service.clone(), scheduling));
    service.enter(Phase::Serving);
    let (ending, ended) = watch::channel(false);
    let mut serving = tokio::spawn(serve(listener, http::routes(service.clone()), ended));
    tokio::select! {
        () = stop => {}
        _ = &mut serving => {}
    }
    service.enter(Phase::Stopping);
    // The scheduler ends with the tick that it is in, a backfill without the batch that it is in; requests that are being answered may
    // go on for a while.
    let _ = stopping.send(true);
    let _ = ending.send(true);
    let all = async { tokio::join!(scheduler, backfills, serving) };
    if tokio::time::timeout(service.config.grace, all).await.is_err() {
        tracing::warn!("not everything ended within {} s", service.config.grace.as_secs());
    }
    drop(stopped);
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    tracing::info!(address = %listener.local_addr().unwrap_or(address), "listening");
    Ok(listener)
}

async fn serve(listener: TcpListener, routes: Router, stopped: watch::Receiver<bool>) {
    let told = async move {
        let mut stopped = stopped;
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(told).await {
        tracing::error!(%error, "serving ended");
    }
}

/// Looks every so often. A look that fails is told and tried again at the next.
async fn schedule(service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    if service.config.tick.is_zero() {
        return;
    }
    let mut ticks = tokio::time::interval(service.config.tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = ticks.tick() => {}
        }
        match service.tick(Minute::Now).await {
            Ok(ticked) => tracing::info!(capabilities = ticked.capabilities.len(), suites = ticked.suites, "tick"),
            Err(error) => tracing::warn!(%error, "the scheduler could not look"),
        }
    }
}

/// Waits for SIGTERM or Ctrl-C.
pub async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A failed start as one report: which block, which statement, which SQLSTATE, what to do, what stays.
pub fn told(error: &StartError) -> String {
    let StartError::Boot(failed) = error else { return format!("the service does not start: {error}") };
    let block = failed.report().and_then(|report| report.blocks.iter().find(|block| block.outcome == Outcome::Failed));
    let Some((block, cause)) = block.and_then(|block| Some((block, block.error.as_ref()?))) else {
        return format!("the service does not start: {failed}");
    };
    let mut out = format!("the service does not start: block {} failed: {}", block.id, cause.message);
    let number = cause.statement.map(|number| {
        let sql = cause.sql.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{number}: {sql}")
    });
    let lines = [
        ("SQLSTATE", cause.sqlstate.clone()),
        ("object", cause.object.clone()),
        ("statement", number),
        ("detail", cause.detail.clone()),
        ("what to do", cause.hint.clone()),
    ];
    for (name, text) in lines {
        if let Some(text) = text {
            out.push_str(&format!("\n  {name:<11}{text}"));
        }
    }
    out
}
