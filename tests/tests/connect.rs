//! Getting in: TLS as libpq does it on a server that speaks it, and errors that name what is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use plinth::{BootError, ConnectError, Database, Host, Status, embedded::Server};
use plinth_tests::{TestDatabase, cache, connect, guests, root, server, service, value};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What signs, what is signed by it, and what has nothing to do with them.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Certificates {
        let folder = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let certificates = Certificates { folder };
        let authority = |name| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
        };
        let (ours, issuer) = authority("the tests' authority");
        let (other, _) = authority("somebody else's authority");
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        certificates.write("authority.crt", &ours);
        certificates.write("other.crt", &other);
        certificates.keyed("signed", &signed.pem(), &key);
        // What PostgreSQL's manual tells people to make (`openssl req -x509`): signed by itself, and an authority by its flags.
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        certificates.keyed("manual", &params.self_signed(&key).unwrap().pem(), &key);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        certificates.keyed("expired", &params.self_signed(&key).unwrap().pem(), &key);
        let plain = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        certificates.keyed("self", &plain.pem(), &key);
        certificates
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A certificate and its key, which PostgreSQL wants to belong to its own user.
    fn keyed(&self, name: &str, certificate: &str, key: &KeyPair) {
        self.write(&format!("{name}.crt"), certificate);
        let path = self.write(&format!("{name}.key"), &key.serialize_pem());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let user = fs::metadata(server().data()).unwrap();
        chown(&path, Some(user.uid()), Some(user.gid())).unwrap();
    }

    /// A server with one of the certificates.
    fn server(&self, name: &str) -> Server {
        let file = |ending| self.path(&format!("{name}.{ending}")).to_str().unwrap().to_owned();
        let builder = Server::builder().in_memory(true).tcp(true).setting("ssl", "on").setting("log_connections", "on");
        builder
            .setting("ssl_cert_file", file("crt"))
            .setting("ssl_key_file", file("key"))
            .start()
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The server with the signed certificate.
fn secure() -> &'static (Certificates, Server) {
    static SECURE: OnceLock<(Certificates, Server)> = OnceLock::new();
    SECURE.get_or_init(|| {
        let certificates = Certificates::new();
        let server = certificates.server("signed");
        (certificates, server)
    })
}

fn address(server: &Server, host: &str, options: &str) -> String {
    let (password, port) = (server.password().unwrap(), server.port());
    format!("postgres://postgres:{password}@{host}:{port}/postgres?{options}")
}

fn rooted(mode: &str, root: &Path) -> String {
    format!("sslmode={mode}&sslrootcert={}", root.display())
}

/// Connects as a host does, without a block.
async fn reach(url: &str, application: &str) -> Result<Status, BootError> {
    Host::new(Database::from_url(url)?).application(application).status().await
}

/// Connects and tells the protocol, from the server's own log.
async fn encryption(server: &Server, url: &str, application: &str) -> Option<String> {
    reach(url, application).await.unwrap_or_else(|error| panic!("{application}: {error}"));
    let log = fs::read_to_string(server.log()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("connection authorized") && line.contains(&format!("plinth {application} ")))
        .unwrap();
    line.split_once("SSL enabled (protocol=").and_then(|(_, rest)| rest.split(',').next()).map(str::to_owned)
}

async fn refused(url: &str) -> String {
    match reach(url, "refused").await {
        Err(error @ BootError::Connect(_)) => error.to_string(),
        other => panic!("the connection was to fail: {other:?}"),
    }
}

#[tokio::test]
async fn disable_sends_plain_text_and_prefer_and_require_encrypt_without_asking_who_it_is() {
    let (certificates, server) = secure();
    let plain = address(server, "127.0.0.1", "sslmode=disable");
    assert_eq!(encryption(server, &plain, "disable").await, None);
    for mode in ["prefer", "require"] {
        let url = address(server, "127.0.0.1", &format!("sslmode={mode}"));
        assert_eq!(encryption(server, &url, mode).await.as_deref(), Some("TLSv1.3"), "{mode}");
    }
    let words = format!(
        "host=127.0.0.1 port={} user=postgres password={} sslmode=require channel_binding=require",
        server.port(),
        server.password().unwrap()
    );
    assert_eq!(encryption(server, &words, "words").await.as_deref(), Some("TLSv1.3"));
    // As in libpq, a root certificate makes `require` check the chain.
    let url = address(server, "127.0.0.1", &rooted("require", &certificates.path("authority.crt")));
    assert_eq!(encryption(server, &url, "require-root").await.as_deref(), Some("TLSv1.3"));
    let error = refused(&address(server, "127.0.0.1", &rooted("require", &certificates.path("other.crt")))).await;
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn verify_full_wants_the_authority_and_the_name_and_verify_ca_only_the_authority() {
    let (certificates, server) = secure();
    let (ours, other) = (certificates.path("authority.crt"), certificates.path("other.crt"));
    let full = address(server, "localhost", &rooted("verify-full", &ours));
    assert_eq!(encryption(server, &full, "full").await.as_deref(), Some("TLSv1.3"));
    let words = format!(
        "host=localhost port={} user=postgres password={} sslmode=verify-full sslrootcert={}",
        server.port(),
        server.password().unwrap(),
        ours.display()
    );
    assert_eq!(encryption(server, &words, "full-words").await.as_deref(), Some("TLSv1.3"));
    let by_address = address(server, "127.0.0.1", &rooted("verify-ca", &ours));
    assert_eq!(encryption(server, &by_address, "ca").await.as_deref(), Some("TLSv1.3"));

    let at = format!("127.0.0.1:{}", server.port());
    let error = refused(&address(server, "127.0.0.1", &rooted("verify-full", &ours))).await;
    assert!(error.contains(&at) && error.contains("not valid for name") && error.contains("localhost"), "{error}");
    for mode in ["verify-ca", "verify-full"] {
        let error = refused(&address(server, "localhost", &rooted(mode, &other))).await;
        assert!(
            error.contains("localhost") && error.contains("certificate") && !error.contains("not valid for name"),
            "{mode}: {error}"
        );
        // Without a root certificate the machine's own are asked, which do not know the tests' authority either.
        let error = refused(&address(server, "localhost", &format!("sslmode={mode}"))).await;
        assert!(error.contains("certificate"), "{mode}: {error}");
    }
}

/// Its certificates are read before its walls are closed; name and port are looked up by the outer process.
#[test]
fn an_isolated_boot_speaks_tls_over_the_sockets_that_it_is_lent() {
    let (certificates, server) = secure();
    let folder = plinth_tests::guests(&["panics"]);
    let boot = |root: &str| {
        let url = address(server, "localhost", &rooted("verify-full", &certificates.path(root)));
        let mut command = plinth_tests::plinth();
        command.args(["run", "--isolate", "--retry-for", "0", "--ledger-schema", "isolated", "--database-url", &url, "--blocks"]);
        String::from_utf8(command.arg(folder.path()).output().unwrap().stderr).unwrap()
    };
    let reached = boot("authority.crt");
    assert!(reached.contains("block panics failed: relation \"t\" does not exist"), "{reached}");
    let refused = boot("other.crt");
    assert!(refused.contains("certificate"), "{refused}");
}

/// Connects as a pool of the API's own does, and tells the protocol.
async fn pooled(url: &str) -> Result<Option<String>, String> {
    let (config, tls) = Database::from_url(url).unwrap().for_pool().map_err(|error| error.to_string())?;
    let chain = |error: tokio_postgres::Error| {
        format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default())
    };
    let (client, connection) = config.connect(tls.expect("the address is none of a socket")).await.map_err(chain)?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(value(&client, "select version from pg_stat_ssl where pid = pg_backend_pid() and ssl").await)
}

#[tokio::test]
async fn a_pool_of_the_apis_own_connects_as_the_host_does() {
    let (certificates, server) = secure();
    let (ours, other) = (certificates.path("authority.crt"), certificates.path("other.crt"));
    for (host, options, encrypted) in [
        ("localhost", rooted("verify-full", &ours), true),
        ("127.0.0.1", rooted("verify-ca", &ours), true),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
    ] {
        let protocol = pooled(&address(server, host, &options)).await.unwrap_or_else(|error| panic!("{options}: {error}"));
        assert_eq!(protocol.as_deref(), encrypted.then_some("TLSv1.3"), "{options}");
    }
    let error = pooled(&address(server, "127.0.0.1", &rooted("verify-full", &ours))).await.unwrap_err();
    assert!(error.contains("not valid for name"), "{error}");
    let error = pooled(&address(server, "localhost", &rooted("verify-full", &other))).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    let error = pooled(&address(server, "localhost", &rooted("verify-full", Path::new("/nowhere.crt")))).await.unwrap_err();
    assert!(error.contains("sslrootcert") && error.contains("nowhere.crt"), "{error}");

    // And the reference service with its pool, boot and requests.
    let url = address(server, "localhost", &rooted("verify-full", &ours)).replace("/postgres?", "/shop?");
    let admin = connect(&server.url("postgres")).await;
    admin.batch_execute("create database shop").await.unwrap();
    let client = connect(&server.url("shop")).await;
    for file in ["tables.sql", "production_like.sql"] {
        client.batch_execute(&fs::read_to_string(root().join("tests/data").join(file)).unwrap()).await.unwrap();
    }
    let service = service::service_at(&url).ready();
    service.get("/schedule/counts").with(200);
    let ours = "select count(*) || ' of ' || count(*) filter (where ssl) from pg_stat_activity join pg_stat_ssl using (pid)
                where datname = 'shop' and pid <> pg_backend_pid()";
    assert_eq!(value(&client, ours).await.as_deref(), Some("1 of 1"), "the connection of the pool");
}

#[tokio::test]
async fn root_certificates_that_cannot_be_read_are_named() {
    let (certificates, server) = secure();
    let missing = certificates.path("missing.crt");
    let error = refused(&address(server, "localhost", &rooted("verify-full", &missing))).await;
    assert!(error.contains("sslrootcert") && error.contains("missing.crt"), "{error}");
    let empty = certificates.write("empty.crt", "no certificate in here\n");
    let error = refused(&address(server, "localhost", &rooted("verify-full", &empty))).await;
    assert!(error.contains("root certificate"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_believed_if_it_is_the_root_that_was_named() {
    let (certificates, _) = secure();
    for name in ["self", "manual"] {
        let server = certificates.server(name);
        let root = certificates.path(&format!("{name}.crt"));
        let full = address(&server, "localhost", &rooted("verify-full", &root));
        assert_eq!(encryption(&server, &full, name).await.as_deref(), Some("TLSv1.3"), "{name}");
        let by_address = address(&server, "127.0.0.1", &rooted("verify-ca", &root));
        assert_eq!(encryption(&server, &by_address, &format!("{name}-ca")).await.as_deref(), Some("TLSv1.3"), "{name}");
        refused(&address(&server, "127.0.0.1", &rooted("verify-full", &root))).await;
        refused(&address(&server, "localhost", &rooted("verify-full", &certificates.path("other.crt")))).await;
    }
    let server = certificates.server("expired");
    let error = refused(&address(&server, "localhost", &rooted("verify-full", &certificates.path("expired.crt")))).await;
    assert!(error.contains("expired"), "{error}");
}

#[tokio::test]
async fn a_statement_is_cancelled_over_tls_too() {
    let (certificates, server) = secure();
    let folder = guests(&["slow"]);
    let url = address(server, "localhost", &rooted("verify-full", &certificates.path("authority.crt")));
    let host = Host::new(Database::from_url(&url).unwrap()).cache(cache()).folder(folder.path()).ledger_schema("cancelled");
    let watcher = connect(&server.url("postgres")).await;
    let running = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()";
    let stop = async {
        while value(&watcher, running).await.as_deref() != Some("1") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(matches!(host.boot_until(stop).await, Err(BootError::Interrupted(_))));
    for _ in 0..100 {
        if value(&watcher, running).await.as_deref() == Some("0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the statement still runs");
}

#[tokio::test]
async fn rows_in_bulk_come_over_tls_too() {
    let (certificates, server) = secure();
    let url = address(server, "localhost", &rooted("verify-full", &certificates.path("authority.crt")));
    let client = connect(&server.url("postgres")).await;
    let tables = "create table large (id bigint primary key, n integer not null default 0);
                  insert into large select i from generate_series(1, 200000) i; create table doubled (id bigint, n integer)";
    client.batch_execute(tables).await.unwrap();
    let folder = guests(&["bulk_interleaved"]);
    let host = Host::new(Database::from_url(&url).unwrap()).cache(cache()).folder(folder.path()).ledger_schema("bulk");
    let report = host.boot().await.unwrap();
    assert_eq!(report.block("bulk_interleaved").unwrap().rows["public.doubled"].inserted, 200_000, "{report:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_used_by_prefer_and_refused_by_require() {
    let server = Server::builder().in_memory(true).tcp(true).setting("log_connections", "on").start().unwrap();
    assert_eq!(encryption(&server, &server.tcp_url("postgres").unwrap(), "default").await, None);
    assert_eq!(encryption(&server, &address(&server, "localhost", "sslmode=prefer"), "prefer").await, None);
    for mode in ["require", "verify-ca", "verify-full"] {
        let root = secure().0.path("authority.crt");
        let error = refused(&address(&server, "localhost", &rooted(mode, &root))).await;
        assert!(error.contains("TLS") && error.contains("localhost"), "{mode}: {error}");
    }
}

#[tokio::test]
async fn no_server_at_the_address_is_said_quickly_with_the_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let began = Instant::now();
    let Err(BootError::Connect(error)) = reach(&format!("postgres://api@127.0.0.1:{port}/shop"), "dead").await else {
        panic!("nobody listens there")
    };
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("no server answers at 127.0.0.1:{port}: ")), "{error}");
    let error = refused("postgres:///shop?host=/tmp/no-such-folder&port=5433").await;
    assert!(error.contains("/tmp/no-such-folder/.s.PGSQL.5433"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    // Somebody who listens and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let began = Instant::now();
    let error = refused(&format!("postgres://api@127.0.0.1:{port}/shop?connect_timeout=1")).await;
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("timed out"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    // Somebody who is no PostgreSQL.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = other.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let error = refused(&format!("postgres://api@127.0.0.1:{port}/shop")).await;
    assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_with_its_sqlstate_and_without_the_password() {
    let (_, server) = secure();
    let right = server.password().unwrap();
    let wrong = address(server, "127.0.0.1", "").replace(right, "s3cret-and-wrong");
    let error = reach(&wrong, "wrong").await.unwrap_err();
    assert!(matches!(&error, BootError::Connect(ConnectError::Refused { .. })) && !error.is_usage(), "{error:?}");
    assert!(error.to_string().contains("28P01") && error.to_string().contains("127.0.0.1"), "{error}");
    for text in [error.to_string(), format!("{error:?}"), format!("{:?}", Database::from_url(&wrong).unwrap())] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let unknown = address(server, "127.0.0.1", "").replace("/postgres?", "/no_such_database?");
    let error = reach(&unknown, "unknown").await.unwrap_err().to_string();
    assert!(error.contains("3D000") && error.contains("no_such_database"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_none_is_a_mistake_in_usage_and_is_not_repeated() {
    for malformed in [
        "nonsense",
        "postgres://api:s3cret@[::1/shop",
        "postgres://api:s3cret@localhost:port/shop",
        "mysql://api:s3cret@localhost/shop",
        "postgres://api:s3cret@localhost/shop?sslmode=perhaps",
        "postgres://api:s3cret@localhost/shop?no_such_option=1",
        "host=localhost password='s3cret",
        "",
    ] {
        let error = match Database::from_url(malformed) {
            Err(error) => BootError::from(error),
            // An empty address is one that names no host.
            Ok(database) => Host::new(database).status().await.unwrap_err(),
        };
        assert!(error.is_usage(), "{malformed}: {error:?}");
        assert!(
            error.to_string().contains("database's address") && !error.to_string().contains("s3cret"),
            "{malformed}: {error}"
        );
    }
}

#[tokio::test]
async fn a_word_of_an_address_may_hold_blanks() {
    let database = TestDatabase::empty().await;
    let client = connect(&server().url("postgres")).await;
    client.batch_execute(&format!("alter database {} rename to \"two  blanks\"", database.name)).await.unwrap();
    let words =
        format!("host={} port={} user=postgres dbname='two  blanks'", server().socket_folder().display(), server().port());
    reach(&words, "blanks").await.unwrap();
}

#[tokio::test]
async fn the_first_host_that_answers_and_writes_is_taken() {
    let (_, server) = secure();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (password, port) = (server.password().unwrap(), server.port());
    let url = |options: &str| format!("postgres://postgres:{password}@127.0.0.1:{dead},localhost:{port}/postgres?{options}");
    assert_eq!(
        encryption(server, &url("sslmode=require&target_session_attrs=read-write"), "second").await.as_deref(),
        Some("TLSv1.3")
    );

    let client = connect(&server.url("postgres")).await;
    client.batch_execute("create database standby").await.unwrap();
    client.batch_execute("alter database standby set default_transaction_read_only = on").await.unwrap();
    let standby = url("target_session_attrs=read-write").replace("/postgres?", "/standby?");
    let error = refused(&standby).await;
    assert!(error.contains("read-only") && error.contains(&format!("localhost:{port}")), "{error}");
}

#[tokio::test]
async fn a_configuration_of_tokio_postgres_will_do() {
    let database = TestDatabase::with_t().await;
    let mut config = tokio_postgres::Config::new();
    config.host_path(server().socket_folder()).port(server().port()).user("postgres").dbname(&database.name);
    let folder = guests(&["once"]);
    let report = Host::new(config).cache(cache()).folder(folder.path()).boot().await.unwrap();
    assert_eq!(report.boot.ran, 1);
    assert_eq!(database.number("select count(*) from t where a = 1").await, 10);
}
