//! What the inner process may ask the system for: limits, and a list of calls. What is not on the list is refused.
//!
//! The list holds what computing, threads, time and sockets that are there already need. No call on it opens a file, makes a socket,
//! connects one, starts a program or a process, or reaches another process. A list of what is forbidden would be shorter, and would
//! have a hole with every call that a newer kernel brings (io_uring was one).

use nix::{
    libc,
    sys::resource::{Resource, setrlimit},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition as Condition, SeccompFilter,
    SeccompRule,
};
use std::{collections::BTreeMap, env};

/// Bytes of private memory: the code of a compiled component and the rows of an answer fit many times over.
const MEMORY: u64 = 4 << 30;
/// Open files: sockets, and what the runtime waits by.
const FILES: u64 = 1024;
/// Bytes of a file: standard output may be one.
const FILE: u64 = 256 << 20;

/// What is allowed whatever its arguments are.
const ALLOWED: &[libc::c_long] = &[
    // Bytes through what is open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // A component's memory as it is at the start, without a name in any folder.
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    // Threads, signals of their own, waiting.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Bounds memory and files of the process, and has it told to stop if the outer one dies.
pub(super) fn limit() -> anyhow::Result<()> {
    let limits = [
        (Resource::RLIMIT_DATA, MEMORY),
        (Resource::RLIMIT_FSIZE, FILE),
        (Resource::RLIMIT_NOFILE, FILES),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, most) in limits {
        setrlimit(resource, most, most)?;
    }
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
    Ok(())
}

/// The filters, for [`seccompiler`] to apply in this order.
pub(super) fn filters() -> anyhow::Result<[BpfProgram; 2]> {
    // What glibc makes threads with, by a structure that no filter can look into. Told that there is no such call, it uses clone.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let unknown = filter(unknown, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    let mut allowed: BTreeMap<_, _> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    allowed.insert(libc::SYS_clone3, Vec::new());
    let thread = libc::CLONE_THREAD as u64;
    // A thread of this process, and no process.
    allowed.insert(libc::SYS_clone, vec![when(0, Length::Qword, Op::MaskedEq(thread), thread)?]);
    // To whom the socket is connected, and nobody else.
    allowed.insert(libc::SYS_sendto, vec![when(4, Length::Qword, Op::Eq, 0)?]);
    // A signal to ourselves: abort.
    let ourselves = u64::from(std::process::id());
    allowed.insert(libc::SYS_tgkill, vec![when(0, Length::Dword, Op::Eq, ourselves)?]);
    // Of a terminal, whether it is one and how wide. Of a socket, that it does not wait. Others would have signals sent to anybody.
    let requests: [u64; 3] = [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONBIO];
    allowed.insert(libc::SYS_ioctl, requests.iter().map(|request| is(*request)).collect::<anyhow::Result<_>>()?);
    let requests = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC, libc::F_ADD_SEALS];
    allowed.insert(libc::SYS_fcntl, requests.iter().map(|request| is(*request as u64)).collect::<anyhow::Result<_>>()?);
    // A thread's name.
    allowed.insert(libc::SYS_prctl, vec![when(0, Length::Dword, Op::Eq, libc::PR_SET_NAME as u64)?]);
    let allowed = filter(allowed, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?;
    Ok([unknown, allowed])
}

fn filter(
    rules: BTreeMap<libc::c_long, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> anyhow::Result<BpfProgram> {
    Ok(SeccompFilter::new(rules, others, these, env::consts::ARCH.try_into()?)?.try_into()?)
}

/// Of a call about something that is open: what is asked.
fn is(request: u64) -> anyhow::Result<SeccompRule> {
    when(1, Length::Dword, Op::Eq, request)
}

fn when(argument: u8, length: Length, op: Op, value: u64) -> anyhow::Result<SeccompRule> {
    Ok(SeccompRule::new(vec![Condition::new(argument, length, op, value)?])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use std::{
        fs,
        io::{self, Read, Write},
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixDatagram, UnixListener, UnixStream},
        process::Command,
        thread,
    };

    /// Runs something behind the walls. A filter is of one thread and those that it makes, so the tests around go on.
    fn behind_walls<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = thread::spawn(|| {
            for filter in filters().unwrap() {
                seccompiler::apply_filter(&filter).unwrap();
            }
            work()
        });
        thread.join().unwrap()
    }

    fn refused<T>(what: &str, done: io::Result<T>) {
        let error = done.map(drop).expect_err(what);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{what}: {error}");
    }

    #[test]
    fn no_file_is_opened_made_moved_or_removed_behind_the_walls() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("there");
        fs::write(&file, "kept").unwrap();
        let there = file.clone();
        behind_walls(move || {
            refused("read", fs::read("/etc/passwd"));
            refused("read", fs::read(&there));
            refused("write", fs::write(&there, "lost"));
            refused("make", fs::File::create_new(there.with_file_name("new")));
            refused("make", fs::create_dir(there.with_file_name("folder")));
            refused("list", fs::read_dir("/"));
            refused("move", fs::rename(&there, there.with_file_name("moved")));
            refused("link", fs::hard_link(&there, there.with_file_name("linked")));
            refused("link", std::os::unix::fs::symlink(&there, there.with_file_name("linked")));
            refused("look", fs::metadata(&there));
            refused("remove", fs::remove_file(&there));
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_socket_is_made_behind_the_walls_and_those_that_are_there_lead_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
        let path = folder.path().join("socket");
        let datagram = UnixDatagram::unbound().unwrap();
        let receiver = UnixDatagram::bind(folder.path().join("datagrams")).unwrap();
        let datagrams = folder.path().join("datagrams");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut connected = TcpStream::connect(address).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        behind_walls(move || {
            refused("tcp", TcpStream::connect(address));
            refused("listen", TcpListener::bind("127.0.0.1:0"));
            refused("accept", listener.accept());
            refused("udp", UdpSocket::bind("127.0.0.1:0"));
            refused("unix", UnixStream::connect(&path));
            refused("accept", unix.accept());
            refused("pair", UnixStream::pair());
            refused("a datagram to somebody", datagram.send_to(b"a", &datagrams));
            refused("a datagram to somebody", udp.send_to(b"a", address));
            refused("another way", udp.connect(address));
            connected.write_all(b"a").unwrap();
        });
        let mut heard = [0];
        accepted.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"a", "what was connected before goes on");
        receiver.set_nonblocking(true).unwrap();
        assert_eq!(receiver.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn no_program_is_started_and_nobody_is_reached_behind_the_walls() {
        let mut other = Command::new("sleep").arg("600").spawn().unwrap();
        let process = nix::unistd::Pid::from_raw(other.id().try_into().unwrap());
        behind_walls(move || {
            refused("a program", Command::new("true").status());
            assert_eq!(kill(process, Signal::SIGKILL), Err(nix::Error::EPERM));
            assert_eq!(setrlimit(Resource::RLIMIT_CORE, 0, 0), Err(nix::Error::EPERM));
        });
        assert!(other.try_wait().unwrap().is_none(), "it still runs");
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn threads_memory_and_time_go_on_behind_the_walls() {
        let sum = behind_walls(|| {
            let threads: Vec<_> =
                (1..=4_u64).map(|number| thread::spawn(move || vec![number; 1 << 20].iter().sum::<u64>())).collect();
            thread::sleep(std::time::Duration::from_millis(1));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        assert_eq!(sum, 10 << 20);
        // What a thread behind the walls made has them as well.
        behind_walls(|| refused("read", thread::spawn(|| fs::read("/etc/passwd")).join().unwrap()));
    }
}
