//! `plinth run --isolate`: the boot in a process of its own, which can start no program, trace nobody, listen nowhere and fill neither
//! disk nor memory. The one that was started stays outside, and says how the other one died.

use super::{FAILED, print};
use nix::{
    libc,
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::{
    collections::BTreeMap,
    env,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};

/// Tells the inner process that it is the inner one.
const INSIDE: &str = "PLINTH_ISOLATED";

/// Bytes of private memory: the code of a compiled component and the rows of an answer fit many times over.
const MEMORY: u64 = 4 << 30;
/// Bytes of one file: compiled code.
const FILE: u64 = 256 << 20;
/// Open files: connections and components.
const FILES: u64 = 1024;

/// What a boot never does. Everything else is allowed: it has to reach the database by whatever way its address says.
const FORBIDDEN: [libc::c_long; 24] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_add_key,
    libc::SYS_keyctl,
];

/// Whether this is the inner process.
pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Before the first thread is started, since each has the walls of the one that made it.
pub(super) fn wall_in() -> anyhow::Result<()> {
    for (resource, most) in [
        (Resource::RLIMIT_DATA, MEMORY),
        (Resource::RLIMIT_FSIZE, FILE),
        (Resource::RLIMIT_NOFILE, FILES),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(resource, most, most)?;
    }
    let rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect::<BTreeMap<_, _>>();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

/// Runs the same command inside, and waits for it. A request to stop is passed on.
pub(super) async fn outside() -> u8 {
    let inside = match env::current_exe() {
        Ok(program) => Command::new(program).args(env::args_os().skip(1)).env(INSIDE, "1").spawn(),
        Err(error) => Err(error),
    };
    let mut inside = match inside {
        Ok(inside) => inside,
        Err(error) => {
            print::error(&format!("the boot cannot be isolated: {error}"));
            return FAILED;
        }
    };
    let process = inside.id().try_into().ok().map(Pid::from_raw);
    let mut ending = tokio::task::spawn_blocking(move || inside.wait());
    let mut stop = std::pin::pin!(super::signal::told_to_stop());
    let mut told = false;
    let ended = loop {
        tokio::select! {
            ended = &mut ending => break ended.unwrap_or_else(|error| Err(std::io::Error::other(error))),
            () = &mut stop, if !told => {
                told = true;
                if let Some(Err(error)) = process.map(|process| kill(process, Signal::SIGTERM)) {
                    tracing::warn!(%error, "the boot cannot be told to stop");
                }
            }
        }
    };
    match ended {
        Ok(status) => code(status),
        Err(error) => {
            print::error(&format!("the boot's process cannot be waited for: {error}"));
            FAILED
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    if let Some(signal) = status.signal() {
        let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
        print::error(&format!(
            "the boot's process died of signal {signal} ({name}): what was not committed is rolled back, the next boot goes on from there"
        ));
        return FAILED;
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}
