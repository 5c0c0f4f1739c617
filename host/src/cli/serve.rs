//! `plinth serve`: the operators' page of any database, for as long as the command runs.

use super::{USAGE, print, signal};
use crate::{Host, page};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

struct Served {
    host: Host,
    title: String,
}

/// Serves until somebody wants the command to stop.
pub(super) async fn serve(host: Host, title: String, listen: SocketAddr) -> u8 {
    let listener = match TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            print::error(&format!("{listen} cannot be listened on: {error}"));
            return USAGE;
        }
    };
    // With port 0 the system chooses.
    let listening = listener.local_addr().unwrap_or(listen);
    if !listening.ip().is_loopback() {
        tracing::warn!("everybody who reaches {listening} can read the page: it asks nobody who they are");
    }
    print::say(&format!("http://{listening}/"));
    let routes = Router::new()
        .route("/", get(show))
        .route("/boots.json", get(boots))
        .route("/style.css", get(style))
        .with_state(Arc::new(Served { host, title }));
    // What is still being answered may take as long as a connection to a database that is gone.
    tokio::select! {
        served = async { axum::serve(listener, routes).await } => match served {
            Ok(()) => 0,
            Err(error) => {
                print::error(&error.to_string());
                super::FAILED
            }
        },
        () = signal::told_to_stop() => 0,
    }
}

async fn show(State(served): State<Arc<Served>>) -> Response {
    let history = match served.host.history(page::Page::BOOTS).await {
        Ok(history) => history,
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    };
    let plan = served.host.plan().await.map_err(|error| error.to_string());
    let shown = page::Page { title: &served.title, history: &history, plan: plan.as_ref(), progress: None, facts: &[] };
    ([(header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY)], Html(shown.render())).into_response()
}

async fn boots(State(served): State<Arc<Served>>) -> Response {
    match served.host.history(page::Page::BOOTS).await {
        Ok(history) => Json(history).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], page::STYLE)
}
