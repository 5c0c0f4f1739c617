//! Boots in a process of their own: for replicas that are real ones, for memory, and for counting instructions.

use crate::subjects::{From, Socket};
use anyhow::{Context, Result, ensure};
use plinth::{BootState, Database, Host, Limits, Report};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{BufRead, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::process;

/// The first word of the command line.
pub const WORD: &str = "child";

/// What a child is to do. Its second word, as JSON.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    pub socket: PathBuf,
    pub database: String,
    /// One boot each, in this order.
    pub boots: Vec<Task>,
    pub cache: Option<PathBuf>,
    /// Bytes that a guest may have.
    pub memory: Option<usize>,
    /// Says when it could begin, and waits for a line.
    pub wait: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Task {
    pub from: From,
    pub application: String,
}

/// What a boot of a child came to.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub joined: bool,
    pub ran: usize,
    /// Nanoseconds since 1970: the clock of all processes.
    pub began: u64,
    pub done: u64,
    pub before: Memory,
    pub after: Memory,
}

/// Of a process, in KiB.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Memory {
    pub resident: u64,
    pub peak: u64,
}

impl Memory {
    fn now() -> Result<Memory> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}

impl Order {
    /// One boot with nothing special about it.
    pub fn one(socket: &Socket, database: &str, from: From) -> Order {
        Order {
            socket: socket.0.clone(),
            database: database.into(),
            boots: vec![Task { from, application: "api".into() }],
            cache: None,
            memory: None,
            wait: false,
        }
    }

    /// The command that does it: this program once more, maybe under another.
    pub fn command(&self, under: &[String]) -> Result<Command> {
        let this = std::env::current_exe()?;
        let mut command = match under {
            [] => Command::new(&this),
            [program, options @ ..] => {
                let mut command = Command::new(program);
                command.args(options).arg(&this);
                command
            }
        };
        command.args([WORD, &serde_json::to_string(self)?]);
        Ok(command)
    }

    /// Does it and waits for its end.
    pub async fn run(&self) -> Result<Vec<Told>> {
        let mut command = process::Command::from(self.command(&[])?);
        let output = command.stdout(Stdio::piped()).output().await?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a child failed: {}", complaint.lines().next().unwrap_or_default());
        Told::read(&String::from_utf8(output.stdout)?)
    }

    /// In the child.
    pub async fn obey(self) -> Result<()> {
        let socket = Socket(self.socket.clone());
        let mut out = std::io::stdout();
        if self.wait {
            writeln!(out, "ready")?;
            out.flush()?;
            let line = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next()).await?;
            line.context("nobody said go")??;
        }
        for task in &self.boots {
            let mut host = task.from.of(Host::new(Database::from(socket.config(&self.database)))).application(&task.application);
            if let Some(memory) = self.memory {
                host = host.limits(Limits { memory, ..Limits::default() });
            }
            if let Some(cache) = &self.cache {
                host = host.cache(cache);
            }
            let (before, began) = (Memory::now()?, now()?);
            let report = host.boot().await?;
            let done = now()?;
            let joined = ended(&report)?;
            // An API keeps neither.
            let ran = report.boot.ran;
            drop((report, host));
            let told = Told { joined, ran, began, done, before, after: Memory::now()? };
            writeln!(out, "{}", serde_json::to_string(&told)?)?;
        }
        Ok(out.flush()?)
    }
}

fn ended(report: &Report) -> Result<bool> {
    match report.boot.state {
        BootState::Complete => Ok(false),
        BootState::Joined => Ok(true),
        state => anyhow::bail!("the boot is {state:?}"),
    }
}

impl Told {
    pub fn read(text: &str) -> Result<Vec<Told>> {
        text.lines().filter(|line| line.starts_with('{')).map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}
