//! What operators ask: every block's last result, a boot now, a look of the scheduler now, and the page.

// The macro that describes a route names its parameters by their full path.
#![allow(unused_qualifications)]

use super::problem::Problem;
use crate::{
    scheduler::{Minute, Ticked, count_overdue, count_paid_skipped},
    service::{Refused, Service},
};
use axum::{
    Json,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use plinth::page::{CONTENT_SECURITY_POLICY, Page, STYLE};
use serde::Deserialize;
use std::{sync::Arc, time::SystemTime};
use utoipa::IntoParams;

/// How many boots are told.
const BOOTS: u32 = 20;

/// The last boots with every block's result, where each block stands, and which rules are safe to remove
#[utoipa::path(get, path = "/admin/boots", security(("token" = [])), responses((status = OK, body = Object), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn boots(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let history = service.host().history(BOOTS).await.map_err(Problem::database)?;
    Ok(Json(history).into_response())
}

/// Boots now, as at a start: what is pending, and every rule. Answers when it is over, with its report
#[utoipa::path(post, path = "/admin/boots", security(("token" = [])),
    responses((status = OK, body = Object), (status = CONFLICT, body = Problem, description = "One runs already"),
              (status = INTERNAL_SERVER_ERROR, body = Object, description = "It failed; with its report if there is one")))]
pub(super) async fn boot(State(service): State<Arc<Service>>) -> Response {
    // A task of its own: a caller who hangs up does not end it in the middle.
    let booted = tokio::spawn(async move { service.boot(std::future::pending()).await }).await;
    match booted {
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(Refused::Busy)) => Problem::new(StatusCode::CONFLICT, "a boot of this process runs already").into_response(),
        Ok(Err(Refused::Failed(error))) => match error.report() {
            Some(report) => (StatusCode::INTERNAL_SERVER_ERROR, Json(report)).into_response(),
            None => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        },
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the boot did not end").into_response(),
    }
}

/// Which minute of the hour is meant.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct For {
    /// The minute, 0 to 59; now if none is given.
    minute: Option<i32>,
}

/// Has the scheduler look now, for this minute or another one
#[utoipa::path(post, path = "/admin/ticks", params(For), security(("token" = [])), responses((status = OK, body = Ticked), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn tick(State(service): State<Arc<Service>>, Query(asked): Query<For>) -> Result<Json<Ticked>, Problem> {
    let minute = asked.minute.map_or(Minute::Now, Minute::Of);
    Ok(Json(service.tick(minute).await.map_err(Problem::database)?))
}

/// The page for people
#[utoipa::path(get, path = "/admin/", security(("token" = [])), responses((status = OK, body = String, content_type = "text/html"), (status = SERVICE_UNAVAILABLE, body = Problem)))]
pub(super) async fn page(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let history = service.host().history(Page::BOOTS).await.map_err(Problem::database)?;
    let plan = service.host().plan().await.map_err(|error| error.to_string());
    let progress = service.progress();
    let facts = facts(&service).await;
    let title = format!("Reference service, build {}", service.config.build);
    let shown = Page { title: &title, history: &history, plan: plan.as_ref(), progress: Some(&progress), facts: &facts };
    Ok(([(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)], Html(shown.render())).into_response())
}

/// What the service itself has to say on the page.
async fn facts(service: &Service) -> Vec<(String, String)> {
    let routes: Vec<String> = service.config.explicit.iter().map(ToString::to_string).collect();
    let explicit = if routes.is_empty() { "none of the routes".to_owned() } else { routes.join(", ") };
    let mut facts = vec![("Explicit inserts".to_owned(), explicit)];
    let counted = async {
        let client = service.pool.get().await.ok()?;
        let overdue = count_overdue(&client, &service.cadence, SystemTime::now()).await.ok()?;
        Some((overdue, count_paid_skipped(&client).await.ok()?))
    };
    if let Some((overdue, paid)) = counted.await {
        service.metrics.counted(overdue, paid);
        facts.push((
            "Scheduler".to_owned(),
            format!("{overdue} capabilities are overdue, {paid} have suites that are passed over"),
        ));
    }
    facts.extend(service.told().warnings.into_iter().map(|warning| ("Warning".to_owned(), warning)));
    facts
}

/// The page's style
#[utoipa::path(get, path = "/admin/style.css", security(("token" = [])), responses((status = OK, body = String, content_type = "text/css")))]
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}
