//! A boot of the reference service as its collector of traces sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth_tests::{TestDatabase, service::service};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

const BRIDGE: &str = "0066_reconcile_eligibility_from_cost";

/// Reads one request as a collector does, and answers it: its head and its body.
fn collected(mut stream: impl Read + Write) -> std::io::Result<(String, String)> {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
            if body.len() >= length {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
                return Ok((head.to_owned(), body.to_owned()));
            }
        }
        let count = stream.read(&mut some)?;
        assert!(count > 0, "it ends in the middle: {text}");
        all.extend(&some[..count]);
    }
}

fn accepted(collector: &TcpListener) -> std::net::TcpStream {
    let (stream, _) = collector.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

#[tokio::test]
async fn a_boot_is_traced_with_a_span_for_each_block() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", collector.local_addr().unwrap());
    let received = std::thread::spawn(move || collected(accepted(&collector)).unwrap());
    let database = TestDatabase::production_like().await;
    let service = service(&database).env("OTEL_EXPORTER_OTLP_ENDPOINT", &address).ready();
    let (head, body) = received.join().unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 12, "the boot and eleven blocks");
    let boot = spans.iter().find(|span| span["name"] == "boot").unwrap();
    let bridge = spans.iter().find(|span| span["name"] == format!("block {BRIDGE}")).unwrap();
    assert_eq!((bridge["parentSpanId"].clone(), bridge["traceId"].clone()), (boot["spanId"].clone(), boot["traceId"].clone()));
    let attribute =
        |name: &str| bridge["attributes"].as_array().unwrap().iter().find(|pair| pair["key"] == name).unwrap()["value"].clone();
    assert!(attribute("plinth.rows")["intValue"].as_str().unwrap().parse::<i64>().unwrap() > 0);
    assert!(attribute("plinth.locks").to_string().contains("RowExclusiveLock on test_suites"));
    assert!(bridge["events"].as_array().unwrap().iter().any(|event| event.to_string().contains("update test_suites")));
    assert_eq!(service.health().unwrap()["state"], "serving");
}

#[tokio::test]
async fn traces_go_over_tls_to_a_collector_that_a_root_certificate_vouches_for_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join(name), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    };
    let (ours, _) = (authority("ours.crt"), authority("other.crt"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    let config = Arc::new(config.unwrap());
    let database = TestDatabase::production_like().await;
    for (root, believed) in [("ours.crt", true), ("other.crt", false)] {
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("https://localhost:{}", collector.local_addr().unwrap().port());
        let config = config.clone();
        let received = std::thread::spawn(move || {
            let connection = rustls::ServerConnection::new(config).unwrap();
            collected(rustls::StreamOwned::new(connection, accepted(&collector)))
        });
        let start = service(&database).env("OTEL_EXPORTER_OTLP_ENDPOINT", &address);
        // Whatever becomes of its traces, the service serves.
        let _service = start.env("SSL_CERT_FILE", folder.path().join(root)).ready();
        match received.join().unwrap() {
            Ok((head, body)) => assert!(believed && head.starts_with("POST /v1/traces") && body.contains("\"boot\""), "{head}"),
            Err(error) => assert!(!believed && error.to_string().contains("fatal alert"), "{root}: {error}"),
        }
    }
    // Without any root certificate it does not start, rather than to send nothing without a word.
    let start = service(&database).env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost").env("SSL_CERT_FILE", "/dev/null");
    let mut refused = start.env("SSL_CERT_DIR", folder.path().join("nowhere")).start();
    assert_eq!(refused.ended().code(), Some(2));
    let said = refused.said();
    assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && said.contains("no root certificate"), "{said}");
}
