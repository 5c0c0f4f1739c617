//! What a probe asks. Never waits for the database: a stalled database must not make an orchestrator kill what waits for it.

use crate::service::{Deferral, LastBoot, Phase, Service};
use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// How the process is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// How far it has come.
    state: Phase,
    /// The build.
    build: String,
    /// Seconds since the process began.
    seconds: u64,
    /// Where the boot stands: stage, block, statement, and since when.
    #[schema(value_type = Object)]
    boot: serde_json::Value,
    /// The same of the backfills that the boot left: which one, its batches, its rows, and how far it has come.
    #[schema(value_type = Object)]
    backfill: serde_json::Value,
    /// The last boot of this process that ended.
    last_boot: Option<LastBoot>,
    /// Blocks that put their work off.
    deferrals: Vec<Deferral>,
    /// What somebody should know.
    warnings: Vec<String>,
}

/// Whether the process is alive, and what it does
#[utoipa::path(get, path = "/health", responses((status = OK, body = Health), (status = SERVICE_UNAVAILABLE, body = Health, description = "It does not start, and ends")))]
pub(super) async fn health(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let (state, told) = (service.phase(), service.told());
    let health = Health {
        state,
        build: service.config.build.clone(),
        seconds: service.seconds(),
        boot: serde_json::to_value(service.progress()).unwrap_or_default(),
        backfill: serde_json::to_value(service.behind_progress()).unwrap_or_default(),
        last_boot: told.boot,
        deferrals: told.deferrals,
        warnings: told.warnings,
    };
    let status = if state == Phase::Failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(health))
}

/// Whether requests are served
#[utoipa::path(get, path = "/ready", responses((status = OK, body = Phase), (status = SERVICE_UNAVAILABLE, body = Phase)))]
pub(super) async fn ready(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let phase = service.phase();
    let status = if phase == Phase::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(phase))
}

/// Numbers for Prometheus
#[utoipa::path(get, path = "/metrics", responses((status = OK, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], service.metrics.text())
}
