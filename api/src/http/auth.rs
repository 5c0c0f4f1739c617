//! Who is an operator: whoever knows the token.
//!
//! A program sends it as a bearer token. A browser, which cannot, may send it as the password of basic authentication, but only to
//! read: a browser adds it to whatever another site makes it send, so what changes something takes the bearer token alone.

use crate::service::Service;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use utoipa::{
    Modify,
    openapi::{
        OpenApi,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

/// Tells in the description how operators prove themselves.
pub(super) struct Token;

impl Modify for Token {
    fn modify(&self, description: &mut OpenApi) {
        let components = description.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// Lets operators through.
pub(super) async fn guard(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let Some(token) = &service.config.token else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match offered(request.headers(), reads) {
        Some(offered) if same(&offered, token) => next.run(request).await,
        _ => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"operators\", charset=\"UTF-8\"")])
            .into_response(),
    }
}

/// The token that a request offers.
fn offered(headers: &HeaderMap, reads: bool) -> Option<String> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    if reads && scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
        return decoded.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// Compares in a time that says nothing of where they differ, nor, by way of the digests, of their lengths.
fn same(offered: &str, token: &str) -> bool {
    Sha256::digest(offered).ct_eq(&Sha256::digest(token)).into()
}

#[cfg(test)]
mod tests {
    use super::{offered, same};
    use axum::http::{HeaderMap, header};

    fn with(value: &str) -> HeaderMap {
        [(header::AUTHORIZATION, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_browser_may_read_and_a_program_may_write() {
        assert_eq!(offered(&with("Bearer secret"), false).as_deref(), Some("secret"));
        assert_eq!(offered(&with("Basic b3BzOnNlY3JldA=="), true).as_deref(), Some("secret"));
        assert_eq!(offered(&with("Basic b3BzOnNlY3JldA=="), false), None);
        assert_eq!(offered(&with("Basic !"), true), None);
        assert_eq!(offered(&HeaderMap::new(), true), None);
    }

    #[test]
    fn only_the_token_is_the_token() {
        assert!(same("0123456789abcdef", "0123456789abcdef"));
        assert!(!same("0123456789abcdeg", "0123456789abcdef"));
        assert!(!same("", "0123456789abcdef"));
    }
}
