//! Sends spans as OTLP in JSON over HTTP, which every collector understands. The official exporter brings gRPC's whole stack along.

use axum::http::Uri;
use opentelemetry::{Array, KeyValue, Value, trace::Status};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName};
use serde_json::{Value as Json, json};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long the collector may take to connect, to read and to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Collector {
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    resource: Vec<Json>,
}

impl Collector {
    /// A collector by its base address: `http://localhost:4318`, or `https://…`, whose certificate is then verified by the machine's root
    /// certificates or those that `SSL_CERT_FILE` names. Without a port it is 4318, with TLS 443.
    ///
    /// # Errors
    ///
    /// In words, if it is no such address, or there is no root certificate.
    pub fn at(address: &str) -> Result<Collector, String> {
        let such = |why: &str| format!("{address} is not an address such as http://localhost:4318: {why}");
        let uri: Uri = address.parse().map_err(|error: axum::http::uri::InvalidUri| such(&error.to_string()))?;
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(such("it begins with http:// or https://")),
        };
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(such("it has no path"));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let tls = if encrypted {
            let name = ServerName::try_from(host.clone()).map_err(|error| such(&error.to_string()))?;
            Some((verifying()?, name))
        } else {
            None
        };
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 4318 });
        Ok(Collector { host, port, tls, resource: Vec::new() })
    }

    fn send(&self, body: &str) -> io::Result<()> {
        let address = (self.host.as_str(), self.port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        match &self.tls {
            None => self.post(stream, body),
            Some((config, name)) => {
                let connection = ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
                self.post(StreamOwned::new(connection, stream), body)
            }
        }
    }

    fn post(&self, mut stream: impl Read + Write, body: &str) -> io::Result<()> {
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: {}:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.host,
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        stream.flush()?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        if status.starts_with(b"HTTP/1.1 2") {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&status).into_owned()))
        }
    }
}

/// TLS to somebody whom a root certificate vouches for.
fn verifying() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("no root certificate is at hand to verify the collector with: name some with SSL_CERT_FILE".into());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    Ok(Arc::new(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth()))
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans: Vec<Json> = batch.iter().map(span).collect();
        let body = json!({ "resourceSpans": [{
            "resource": { "attributes": self.resource },
            "scopeSpans": [{ "scope": { "name": "plinth" }, "spans": spans }],
        }]});
        self.send(&body.to_string())
            .map_err(|error| OTelSdkError::InternalFailure(format!("{}:{}: {error}", self.host, self.port)))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.iter().map(|(key, value)| json!({ "key": key.as_str(), "value": any(value) })).collect();
    }
}

fn span(span: &SpanData) -> Json {
    let (code, message) = match &span.status {
        Status::Unset => (0, ""),
        Status::Ok => (1, ""),
        Status::Error { description } => (2, description.as_ref()),
    };
    let events = span.events.iter().map(|event| {
        json!({ "timeUnixNano": nanoseconds(event.timestamp), "name": event.name, "attributes": attributes(&event.attributes) })
    });
    json!({
        "traceId": span.span_context.trace_id().to_string(),
        "spanId": span.span_context.span_id().to_string(),
        "parentSpanId": if span.parent_span_id == opentelemetry::trace::SpanId::INVALID { String::new() } else { span.parent_span_id.to_string() },
        "name": span.name,
        "kind": 1,
        "startTimeUnixNano": nanoseconds(span.start_time),
        "endTimeUnixNano": nanoseconds(span.end_time),
        "attributes": attributes(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "status": { "code": code, "message": message },
    })
}

fn attributes(pairs: &[KeyValue]) -> Vec<Json> {
    pairs.iter().map(|pair| json!({ "key": pair.key.as_str(), "value": any(&pair.value) })).collect()
}

/// A value as OTLP has it; whole numbers are texts, since JSON's are not whole.
fn any(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::I64(value) => json!({ "intValue": value.to_string() }),
        Value::F64(value) => json!({ "doubleValue": value }),
        Value::Array(Array::String(texts)) => {
            let texts: Vec<Json> = texts.iter().map(|text| json!({ "stringValue": text.as_str() })).collect();
            json!({ "arrayValue": { "values": texts } })
        }
        other => json!({ "stringValue": other.as_str() }),
    }
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use super::Collector;

    #[test]
    fn an_address_has_a_scheme_a_host_and_perhaps_a_port() {
        let at = |address| Collector::at(address).map(|collector| (collector.host, collector.port, collector.tls.is_some()));
        assert_eq!(at("http://localhost"), Ok(("localhost".to_owned(), 4318, false)));
        assert_eq!(at("http://[::1]:14318/"), Ok(("::1".to_owned(), 14318, false)));
        assert_eq!(at("https://traces.example"), Ok(("traces.example".to_owned(), 443, true)));
        for (wrong, why) in [
            ("localhost:4318", "http://"),
            ("grpc://localhost:4317", "http://"),
            ("http://localhost:4318/v1/traces", "no path"),
            ("http://", "address"),
        ] {
            let said = at(wrong).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
