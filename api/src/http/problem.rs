//! What went wrong with a request.

use crate::reason::reason;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::error::Error;
use utoipa::ToSchema;

/// What went wrong with a request, in words.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    /// What went wrong.
    error: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Problem {
        Problem { status, error: error.into() }
    }

    /// The database cannot be reached, or it did not do what it should. The caller learns that, the log learns why.
    pub(super) fn database(error: impl Into<Box<dyn Error + Send + Sync>>) -> Problem {
        tracing::warn!(error = reason(&*error.into()), "a request failed");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the database cannot be used at the moment")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}
