//! Sends spans as OTLP in JSON over plain HTTP, which every collector understands: to one beside the service, which encrypts and
//! passes on. The official exporter brings gRPC's whole stack along.

use opentelemetry::{Array, KeyValue, Value, trace::Status};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use serde_json::{Value as Json, json};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long the collector may take to connect, to read and to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// An exporter to a collector.
#[derive(Debug)]
pub(super) struct Collector {
    host: String,
    resource: Vec<Json>,
}

impl Collector {
    /// A collector by its base address.
    pub(super) fn at(address: &str) -> Result<Collector, String> {
        let host = address.strip_prefix("http://").ok_or("a collector's address begins with http://")?.trim_end_matches('/');
        if host.is_empty() || host.contains('/') {
            return Err(format!("{address} is not an address such as http://localhost:4318"));
        }
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:4318") };
        Ok(Collector { host, resource: Vec::new() })
    }

    fn send(&self, body: &str) -> io::Result<()> {
        let address = self.host.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        if status.starts_with(b"HTTP/1.1 2") {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&status).into_owned()))
        }
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans: Vec<Json> = batch.iter().map(span).collect();
        let body = json!({ "resourceSpans": [{
            "resource": { "attributes": self.resource },
            "scopeSpans": [{ "scope": { "name": "plinth" }, "spans": spans }],
        }]});
        self.send(&body.to_string()).map_err(|error| OTelSdkError::InternalFailure(format!("{}: {error}", self.host)))
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
