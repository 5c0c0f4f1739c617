//! `make run`: what Plinth does, on production-like data, with the real command.

use anyhow::{Context, bail};
use plinth::embedded::Server;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tokio_postgres::NoTls;

const BRIDGE: &str = "0066_reconcile_eligibility_from_cost";

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?.to_owned();
    let blocks = tempfile::tempdir()?;
    for entry in std::fs::read_dir(root.join("target/blocks")).context("target/blocks: `make blocks` builds it")? {
        let path = entry?.path();
        std::fs::copy(&path, blocks.path().join(path.file_name().context("a file")?))?;
    }
    heading("A PostgreSQL server of our own, with production-like data");
    let server = Server::builder().start()?;
    let url = server.url("postgres");
    tokio::runtime::Runtime::new()?.block_on(fill(&root, &url))?;

    let tour = Tour { plinth: std::env::current_exe()?.with_file_name("plinth"), blocks: blocks.path().to_owned(), url };
    heading("plinth plan: what the first boot would do");
    tour.plinth("plan", 3)?;
    heading("plinth run: the first boot applies the migrations and the rules");
    tour.plinth("run", 0)?;
    heading("plinth run: the second boot finds nothing to do; its rules look and write nothing");
    tour.plinth("run", 0)?;
    heading("A rule is removed by deleting its file");
    let file = tour.blocks.join(format!("{BRIDGE}.wasm"));
    std::fs::remove_file(&file)?;
    println!("rm {BRIDGE}.wasm\n");
    tour.plinth("run", 0)?;
    heading("plinth status: what the ledger knows");
    tour.plinth("status", 0)?;
    server.stop()?;
    Ok(())
}

struct Tour {
    plinth: PathBuf,
    blocks: PathBuf,
    url: String,
}

impl Tour {
    fn plinth(&self, command: &str, expected: i32) -> anyhow::Result<()> {
        let mut plinth = Command::new(&self.plinth);
        plinth.arg(command).arg("--blocks").arg(&self.blocks).env("DATABASE_URL", &self.url).env("PLINTH_LOG", "warn");
        let status = plinth.stdin(Stdio::null()).status().with_context(|| self.plinth.display().to_string())?;
        if status.code() != Some(expected) {
            bail!("plinth {command} ended with {status}, {expected} was expected");
        }
        Ok(())
    }
}

fn heading(text: &str) {
    println!("\n== {text}\n");
}

async fn fill(root: &Path, url: &str) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    for file in ["tables.sql", "production_like.sql"] {
        client.batch_execute(&std::fs::read_to_string(root.join("tests/data").join(file))?).await.context(file)?;
    }
    let row = client.query_one("select (select count(*) from capabilities), (select count(*) from test_suites)", &[]).await?;
    println!("{} capabilities, {} test suites", row.get::<_, i64>(0), row.get::<_, i64>(1));
    Ok(())
}
