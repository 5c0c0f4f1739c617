//! The running reference service, as a process of its own, and a client that speaks just enough HTTP to it.

use crate::{TestDatabase, blocks, cache, plinth};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The operators' token of the tests.
pub const TOKEN: &str = "a token of sixteen and more";

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless it has the status.
    #[track_caller]
    pub fn with(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// Sends a request and reads its answer; an error if nobody listens.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !body.is_empty() {
        head.push_str("content-type: application/json\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let all = String::from_utf8(all).map_err(std::io::Error::other)?;
    let (head, body) = all.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Ok(Answer { status: status.unwrap_or_default(), headers, body: body.to_owned() })
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The service as a process. Killed when dropped.
pub struct Service {
    child: Child,
    /// Where the API is served, once it is ready.
    pub api: String,
    /// Where health is told, from the start.
    pub health: String,
    said: Arc<Mutex<String>>,
}

/// How a service is started.
pub struct Start {
    command: Command,
    api: String,
    health: String,
}

/// The service's program, as built by this workspace.
pub fn program() -> PathBuf {
    let path = Path::new(plinth().get_program()).with_file_name("plinth-api");
    assert!(path.is_file(), "{} is not there: `cargo build --workspace` makes it", path.display());
    path
}

/// The service on a database, with the eleven blocks, that does not tick by itself.
pub fn service(database: &TestDatabase) -> Start {
    service_at(&database.url)
}

/// The same by the database's address.
pub fn service_at(url: &str) -> Start {
    let (api, health) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut command = Command::new(program());
    command
        .env("DATABASE_URL", url)
        .env("API_LISTEN", &api)
        .env("API_HEALTH_LISTEN", &health)
        .env("API_BLOCKS", blocks())
        .env("API_CACHE", cache())
        .env("API_TOKEN", TOKEN)
        .env("API_TICK_SECONDS", "0")
        .env("API_BUILD", "test")
        .env_remove("API_EXPLICIT")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    Start { command, api, health }
}

impl Start {
    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Start {
        self.command.env(name, value);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Service {
        let mut child = self.command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (child.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Service { child, api: self.api, health: self.health, said }
    }

    /// Starts it and waits until it serves.
    pub fn ready(self) -> Service {
        let mut service = self.start();
        service.until("it serves", |service| {
            request(&service.health, "GET", "/ready", &[], None).is_ok_and(|answer| answer.status == 200)
        });
        service
    }
}

impl Service {
    /// Waits until something is so.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&Service) -> bool) {
        let began = Instant::now();
        while !so(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status} before {what}:\n{}", self.said());
            }
            assert!(began.elapsed() < PATIENCE, "{what} takes too long:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it wrote to standard error.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Asks the API.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        request(&self.api, "GET", path, &[], None).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.said()))
    }

    /// Sends something to the API.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        request(&self.api, "POST", path, &[], Some(body)).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.said()))
    }

    /// The same as an operator.
    #[track_caller]
    pub fn operate(&self, method: &str, path: &str) -> Answer {
        let token = format!("Bearer {TOKEN}");
        request(&self.api, method, path, &[("authorization", &token)], None).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// How it is, by its health endpoint.
    pub fn health(&self) -> Option<Value> {
        request(&self.health, "GET", "/health", &[], None).ok().map(|answer| answer.json())
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The thread that reads what it said may be a moment behind.
                std::thread::sleep(Duration::from_millis(100));
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        self.ended()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
