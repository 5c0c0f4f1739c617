//! A proxy between a host and its server that sees each message: to kill, to cut or to wait at just one of them.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixStream, tcp::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::watch,
};

/// Around a message that the server is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The server does not get it.
    Before,
    /// The server gets it, and nobody its answer.
    After,
}

type Hook = Box<dyn FnMut() + Send>;

/// What happens at which message.
struct Trap {
    message: u64,
    when: When,
    hook: Hook,
}

#[derive(Default)]
struct Control {
    /// Messages that the server is to answer, of all connections.
    messages: AtomicU64,
    trap: Mutex<Option<Trap>>,
    sprung: AtomicBool,
    delay: AtomicU64,
    /// Neither side hears anything any more, and nobody is told.
    silent: AtomicBool,
}

/// A proxy on a port of its own. It ends with this value.
pub struct Proxy {
    address: String,
    control: Arc<Control>,
    cut: watch::Sender<u64>,
    listener: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy for the server whose socket is given.
    pub async fn new(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let control = Arc::new(Control::default());
        let (cut, cuts) = watch::channel(0);
        let shared = control.clone();
        let listener = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let (socket, control, mut cuts) = (socket.clone(), shared.clone(), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let _ = client.set_nodelay(true);
                    let Ok(server) = UnixStream::connect(&socket).await else { return };
                    let (from_client, mut to_client) = client.into_split();
                    let (mut from_server, to_server) = server.into_split();
                    let up = requests(from_client, to_server, control.clone());
                    let down = async {
                        let mut buffer = vec![0; 64 << 10];
                        loop {
                            let read = from_server.read(&mut buffer).await?;
                            if read == 0 {
                                return io::Result::Ok(());
                            }
                            control.wait().await;
                            if !control.silent.load(Ordering::Relaxed) {
                                to_client.write_all(&buffer[..read]).await?;
                            }
                        }
                    };
                    tokio::select! {
                        _ = up => {}
                        _ = down => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Proxy { address, control, cut, listener }
    }

    /// The address of a database behind the proxy. The server trusts whoever reaches its socket.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}?sslmode=disable", self.address)
    }

    /// Does something once, before or after a message that the server is to answer, counted from 1.
    pub fn at(&self, message: u64, when: When, hook: impl FnMut() + Send + 'static) {
        self.control.messages.store(0, Ordering::Relaxed);
        self.control.sprung.store(false, Ordering::Relaxed);
        *self.control.trap.lock().unwrap() = Some(Trap { message, when, hook: Box::new(hook) });
    }

    /// Closes all connections once, before or after a message.
    pub fn cut_at(&self, message: u64, when: When) {
        let cut = self.cut.clone();
        self.at(message, when, move || cut.send_modify(|cuts| *cuts += 1));
    }

    /// Whether the message that something was to happen at came.
    pub fn sprung(&self) -> bool {
        self.control.sprung.load(Ordering::Relaxed)
    }

    /// Holds back everything by this much, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.control.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Lets nothing through any more, as a network that swallows packets; or lets new bytes through again.
    pub fn silent(&self, silent: bool) {
        self.control.silent.store(silent, Ordering::Relaxed);
    }

    /// Messages so far that the server is to answer.
    pub fn messages(&self) -> u64 {
        self.control.messages.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

impl Control {
    async fn wait(&self) {
        let delay = self.delay.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
    }

    fn spring(&self, message: u64, when: When) -> bool {
        let mut trap = self.trap.lock().unwrap();
        if !trap.as_ref().is_some_and(|trap| trap.message == message && trap.when == when) {
            return false;
        }
        let Some(mut trap) = trap.take() else { return false };
        // Before it happens: whoever sees what happened is to find that it did.
        self.sprung.store(true, Ordering::SeqCst);
        (trap.hook)();
        true
    }
}

/// Passes a client's messages on, one by one.
async fn requests(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, control: Arc<Control>) -> io::Result<()> {
    let mut started = false;
    loop {
        // The first message has no type: a start, or a request to cancel.
        let mut head = vec![0; if started { 5 } else { 4 }];
        client.read_exact(&mut head).await?;
        let length = u32::from_be_bytes(head[head.len() - 4..].try_into().unwrap()) as usize;
        let mut message = head.clone();
        message.resize(head.len() + length.saturating_sub(4), 0);
        client.read_exact(&mut message[head.len()..]).await?;
        control.wait().await;
        let answered = started && matches!(head[0], b'Q' | b'S');
        started = true;
        if control.silent.load(Ordering::Relaxed) {
            continue;
        }
        if !answered {
            server.write_all(&message).await?;
            continue;
        }
        let number = control.messages.fetch_add(1, Ordering::Relaxed) + 1;
        if control.spring(number, When::Before) {
            if control.silent.load(Ordering::Relaxed) {
                continue;
            }
            return Ok(());
        }
        server.write_all(&message).await?;
        if control.spring(number, When::After) {
            // Long enough for the server to read it, and to work on it.
            tokio::time::sleep(Duration::from_millis(2)).await;
            return Ok(());
        }
    }
}
