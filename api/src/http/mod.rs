//! What is served, and where: health from the start on its own address, everything once the service is ready.

mod admin;
mod auth;
mod capabilities;
mod health;
mod problem;
mod schedule;

pub use health::Health;
pub use problem::Problem;

use crate::service::Service;
use auth::Token;
use axum::{Router, middleware, routing::get};
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(OpenApi)]
#[openapi(
    info(title = "The reference service", description = "Sells capabilities and tests them on a schedule. Boots with Plinth."),
    modifiers(&Token)
)]
struct Description;

/// What a probe asks, from the first moment of the process.
pub fn health_routes(service: Arc<Service>) -> Router {
    let (router, _) = health_described().split_for_parts();
    router.with_state(service)
}

/// Everything.
pub fn routes(service: Arc<Service>) -> Router {
    let (router, description) = described(&service).split_for_parts();
    let json = description.to_json().unwrap_or_default();
    let description = get(move || async move { ([("content-type", "application/json")], json) });
    router.route("/openapi.json", description).with_state(service)
}

/// The description of the API, from the code of its routes.
pub fn description() -> String {
    let (_, description) = open().merge(operators()).split_for_parts();
    description.to_pretty_json().unwrap_or_default()
}

fn health_described() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(health::health)).routes(routes!(health::ready)).routes(routes!(health::metrics))
}

fn described(service: &Arc<Service>) -> OpenApiRouter<Arc<Service>> {
    let guarded = operators().route_layer(middleware::from_fn_with_state(service.clone(), auth::guard));
    open().merge(guarded)
}

/// What everybody may call.
fn open() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(health_described())
        .routes(routes!(capabilities::onboard))
        .routes(routes!(capabilities::record))
        .routes(routes!(capabilities::generate))
        .routes(routes!(capabilities::call))
        .routes(routes!(schedule::overdue))
        .routes(routes!(schedule::counts))
        .routes(routes!(schedule::diagnosis))
}

/// What only operators may call.
fn operators() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(admin::boots, admin::boot))
        .routes(routes!(admin::tick))
        .routes(routes!(admin::page))
        .routes(routes!(admin::style))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_route_is_described_and_what_is_guarded_says_so() {
        let description: serde_json::Value = serde_json::from_str(&super::description()).unwrap();
        let paths: Vec<&str> = description["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        for path in ["/health", "/ready", "/metrics", "/capabilities", "/schedule/overdue", "/admin/boots", "/admin/"] {
            assert!(paths.contains(&path), "{path} in {paths:?}");
        }
        for (path, methods) in description["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert_eq!(path.starts_with("/admin"), operation.get("security").is_some(), "{method} {path}");
                assert!(operation["responses"].as_object().is_some_and(|responses| !responses.is_empty()), "{method} {path}");
            }
        }
    }
}
