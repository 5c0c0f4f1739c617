//! A real pgbouncer in transaction mode before the server of the tests.

use crate::root;
use plinth::embedded::Server;
use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// It ends with this value.
pub struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

/// Where it is, or why there is none.
fn binary() -> Result<PathBuf, String> {
    let unpacked = root().join("target/tools/pgbouncer");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join("pgbouncer"));
    let mut all = on_path.chain([PathBuf::from("/usr/sbin/pgbouncer"), unpacked.join("run")]);
    all.find(|path| path.is_file())
        .ok_or_else(|| fs::read_to_string(unpacked.join("absent")).unwrap_or_else(|_| "`make pooler` was not run".to_owned()))
}

impl Pooler {
    /// Starts one before a server. None, with a line that says why, where there is no pgbouncer to be had.
    pub async fn before(server: &Server) -> Option<Pooler> {
        Pooler::start(server, " user=postgres", &[]).await
    }

    /// The same, which lets clients in as these roles too, each as itself.
    pub async fn of_roles(server: &Server, roles: &[String]) -> Option<Pooler> {
        Pooler::start(server, "", roles).await
    }

    async fn start(server: &Server, user: &str, roles: &[String]) -> Option<Pooler> {
        let binary = match binary() {
            Ok(binary) => binary,
            Err(why) => {
                eprintln!("SKIPPED: no pgbouncer: {why}");
                assert!(why.trim() != "`make pooler` was not run", "{why}");
                return None;
            }
        };
        // It refuses to be root. Its user must be able to read it, and to enter the folder of the server's socket.
        let folder = tempfile::Builder::new().prefix("plinth-pooler-").tempdir_in("/tmp").unwrap();
        let owner = fs::metadata(server.data()).unwrap();
        let program = if binary.ends_with("run") { copied(binary.parent().unwrap(), folder.path()) } else { binary };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "[databases]\n* = host={} port={}{user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 6\nmax_client_conn = 200\n\
             ignore_startup_parameters = extra_float_digits\n",
            server.socket_folder().display(),
            server.port(),
            folder.path().join("users").display(),
        );
        let users = roles.iter().map(String::as_str).chain(["postgres"]).map(|role| format!("\"{role}\" \"\"\n"));
        fs::write(folder.path().join("users"), users.collect::<String>()).unwrap();
        fs::write(folder.path().join("settings"), settings).unwrap();
        let open = Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status().unwrap();
        assert!(open.success());
        let mut command = Command::new(program);
        command.arg(folder.path().join("settings")).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(folder.path().join("log")).unwrap());
        if owner.uid() != fs::metadata(folder.path()).unwrap().uid() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let pooler = Pooler { child: command.spawn().unwrap(), port, _folder: folder };
        for _ in 0..200 {
            if tokio_postgres::connect(&pooler.url("postgres"), tokio_postgres::NoTls).await.is_ok() {
                return Some(pooler);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{}", fs::read_to_string(pooler._folder.path().join("log")).unwrap());
    }

    /// The address of a database behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}

/// A copy that another user can read, wherever the repository is.
fn copied(from: &Path, to: &Path) -> PathBuf {
    let status = Command::new("cp").arg("-r").args([from.join("root"), from.join("run")]).arg(to).status().unwrap();
    assert!(status.success());
    to.join("run")
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
