//! What customers and the team do with capabilities. Each of these makes test suites, by one route each.

use super::problem::Problem;
use crate::{
    service::Service,
    suites::{self, Route},
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio_postgres::{Client, error::SqlState};
use utoipa::ToSchema;

/// A new capability.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewCapability {
    /// Its name in addresses.
    slug: String,
    /// Its name for people.
    name: String,
    /// What a call is sold for.
    price_cents: i32,
}

/// How many suites were made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Made {
    /// The capability.
    capability: String,
    /// The route that made them.
    route: Route,
    /// Whether it states cost and eligibility.
    explicit: bool,
    /// How many.
    suites: u64,
}

/// Takes a capability into the catalogue, with suites that test it
#[utoipa::path(post, path = "/capabilities", request_body = NewCapability,
    responses((status = CREATED, body = Made), (status = CONFLICT, body = Problem), (status = BAD_REQUEST, body = Problem), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn onboard(
    State(service): State<Arc<Service>>,
    Json(new): Json<NewCapability>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if new.slug.is_empty() || new.slug.len() > 255 || !new.slug.chars().all(plain) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "a slug is made of small letters, digits and hyphens"));
    }
    let mut client = service.pool.get().await.map_err(Problem::database)?;
    let transaction = client.transaction().await.map_err(Problem::database)?;
    let insert = "insert into capabilities (slug, name, price_cents) values ($1, $2, $3)";
    transaction.execute(insert, &[&new.slug, &new.name, &new.price_cents]).await.map_err(|error| {
        if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
            Problem::new(StatusCode::CONFLICT, format!("{} is there already", new.slug))
        } else {
            Problem::database(error)
        }
    })?;
    let made = made(&service, transaction.client(), Route::Onboarding, new.slug).await?;
    transaction.commit().await.map_err(Problem::database)?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Records an answer, to be compared later without a call
#[utoipa::path(post, path = "/capabilities/{slug}/fixtures", params(("slug" = String, Path)),
    responses((status = CREATED, body = Made), (status = NOT_FOUND, body = Problem), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn record(
    State(service): State<Arc<Service>>,
    Path(slug): Path<String>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let client = service.pool.get().await.map_err(Problem::database)?;
    known(&client, &slug).await?;
    Ok((StatusCode::CREATED, Json(made(&service, &client, Route::Fixture, slug).await?)))
}

/// Makes up suites from those that are there
#[utoipa::path(post, path = "/capabilities/{slug}/generated", params(("slug" = String, Path)),
    responses((status = CREATED, body = Made), (status = NOT_FOUND, body = Problem), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn generate(
    State(service): State<Arc<Service>>,
    Path(slug): Path<String>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let client = service.pool.get().await.map_err(Problem::database)?;
    known(&client, &slug).await?;
    Ok((StatusCode::CREATED, Json(made(&service, &client, Route::Generator, slug).await?)))
}

/// Calls a capability, as a customer does; the call becomes a suite
#[utoipa::path(post, path = "/capabilities/{slug}/calls", params(("slug" = String, Path)), request_body = Object,
    responses((status = CREATED, body = Made), (status = NOT_FOUND, body = Problem), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn call(
    State(service): State<Arc<Service>>,
    Path(slug): Path<String>,
    Json(input): Json<serde_json::Value>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let mut client = service.pool.get().await.map_err(Problem::database)?;
    known(&client, &slug).await?;
    let transaction = client.transaction().await.map_err(Problem::database)?;
    let sold = "insert into transactions (capability_id, status, input, price_cents, completed_at)
                select id, 'completed', $2, price_cents, now() from capabilities where slug = $1";
    transaction.execute(sold, &[&slug, &input]).await.map_err(Problem::database)?;
    let made = made(&service, transaction.client(), Route::Traffic, slug).await?;
    transaction.commit().await.map_err(Problem::database)?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn known(client: &Client, slug: &str) -> Result<(), Problem> {
    match client.query_opt("select from capabilities where slug = $1", &[&slug]).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no capability {slug}"))),
        Err(error) => Err(Problem::database(error)),
    }
}

async fn made(service: &Service, client: &Client, route: Route, capability: String) -> Result<Made, Problem> {
    let input = serde_json::json!({ "from": route.as_str() });
    let explicit = &service.config.explicit;
    let suites = suites::make(client, explicit, route, &capability, &input).await.map_err(Problem::database)?;
    let explicit = explicit.contains(&route);
    service.metrics.inserted(route, explicit, suites);
    Ok(Made { capability, route, explicit, suites })
}
