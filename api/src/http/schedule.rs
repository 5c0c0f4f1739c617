//! The readers of the schedule.

// The macro that describes a route names its parameters by their full path.
#![allow(unused_qualifications)]

use super::problem::Problem;
use crate::{
    scheduler::{self, Diagnosis, Overdue},
    service::Service,
};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::SystemTime};
use utoipa::{IntoParams, ToSchema};

/// Which minute of the hour is meant.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Of {
    /// The minute, 0 to 59; all of them if none is given.
    minute: Option<i32>,
}

/// Capabilities that are overdue in a minute of the hour, the longest untested first, at most 20
#[utoipa::path(get, path = "/schedule/overdue", params(Of), responses((status = OK, body = Vec<Overdue>), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn overdue(State(service): State<Arc<Service>>, Query(of): Query<Of>) -> Result<Json<Vec<Overdue>>, Problem> {
    let client = service.pool.get().await.map_err(Problem::database)?;
    let found = scheduler::find_overdue(&client, &service.cadence, SystemTime::now(), of.minute).await;
    Ok(Json(found.map_err(Problem::database)?))
}

/// How many capabilities wait, and how many the schedule passes over.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Counts {
    /// Overdue, whatever their minute.
    overdue: i64,
    /// With an active suite that is not eligible.
    paid_skipped: i64,
}

/// How many capabilities wait, and how many the schedule passes over
#[utoipa::path(get, path = "/schedule/counts", responses((status = OK, body = Counts), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn counts(State(service): State<Arc<Service>>) -> Result<Json<Counts>, Problem> {
    let client = service.pool.get().await.map_err(Problem::database)?;
    let overdue = scheduler::count_overdue(&client, &service.cadence, SystemTime::now()).await.map_err(Problem::database)?;
    let paid_skipped = scheduler::count_paid_skipped(&client).await.map_err(Problem::database)?;
    service.metrics.counted(overdue, paid_skipped);
    Ok(Json(Counts { overdue, paid_skipped }))
}

/// Why a capability is tested, or is not
#[utoipa::path(get, path = "/capabilities/{slug}/diagnosis", params(("slug" = String, Path)),
    responses((status = OK, body = Diagnosis), (status = NOT_FOUND, body = Problem), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn diagnosis(State(service): State<Arc<Service>>, Path(slug): Path<String>) -> Result<Json<Diagnosis>, Problem> {
    let client = service.pool.get().await.map_err(Problem::database)?;
    let found = scheduler::diagnose(&client, &service.cadence, SystemTime::now(), &slug).await.map_err(Problem::database)?;
    found.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no capability {slug}")))
}
