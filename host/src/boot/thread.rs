//! The thread that a boot runs on.
//!
//! A boot mostly waits for the server. On a runtime of several threads each answer wakes one of them, which wakes another: with a thread
//! and a runtime of its own, a boot wakes nobody but itself. And a component that computes holds up none of the API's threads.

use std::{io, panic::resume_unwind, pin::Pin, thread, time::Duration};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tracing::{Instrument, Span, dispatcher};

/// How long connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Does some work on a thread of its own, which is told when `stop` is done, or nobody waits for the work any more.
pub(super) async fn on_its_own<T, F>(stop: impl Future<Output = ()>, work: impl FnOnce(oneshot::Receiver<()>) -> F) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let work: Work<T> = Box::pin(work(told).instrument(Span::current()));
    let (give, given) = std::sync::mpsc::channel();
    let mut done: Work<T> = match started(move || given.recv().ok()) {
        Ok((thread, answer)) => {
            let _ = give.send(work);
            Box::pin(async move {
                match answer.await {
                    Ok(done) => done,
                    // It panicked, as it would have here.
                    Err(_) => match thread.join() {
                        Err(panic) => resume_unwind(panic),
                        Ok(()) => std::future::pending().await,
                    },
                }
            })
        }
        Err(error) => {
            tracing::warn!(%error, "the boot has no thread of its own");
            work
        }
    };
    tokio::select! {
        done = &mut done => return done,
        () = stop => drop(tell),
    }
    done.await
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Started<T> = (thread::JoinHandle<()>, oneshot::Receiver<T>);

/// Starts the thread, which does what it is given.
fn started<T: Send + 'static, F: Future<Output = T>>(
    given: impl FnOnce() -> Option<F> + Send + 'static,
) -> io::Result<Started<T>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (answer, answered) = oneshot::channel();
    let dispatch = dispatcher::get_default(Clone::clone);
    let thread = thread::Builder::new().name("plinth-boot".into()).spawn(move || {
        let Some(work) = given() else { return };
        dispatcher::with_default(&dispatch, || {
            let _ = answer.send(runtime.block_on(work));
            runtime.block_on(goodbye(&runtime));
            // What is compiled ahead and not wanted any more is not waited for.
            runtime.shutdown_background();
        });
    })?;
    Ok((thread, answered))
}

/// Waits until the connections that were dropped are closed.
async fn goodbye(runtime: &Runtime) {
    let closed = async {
        while runtime.metrics().num_alive_tasks() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(GOODBYE, closed).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::pending, sync::mpsc};

    #[tokio::test]
    async fn work_is_done_elsewhere_and_is_told_to_stop() {
        let here = thread::current().id();
        let elsewhere = on_its_own(pending(), |_| async move { thread::current().id() != here }).await;
        assert!(elsewhere);
        let stopped = on_its_own(async {}, |told| async move { told.await.is_err() }).await;
        assert!(stopped);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_told_so_and_still_ends() {
        let (ended, wait) = mpsc::channel();
        let work = on_its_own(pending(), move |told| async move {
            let _ = told.await;
            ended.send(()).unwrap();
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), work).await.is_err());
        wait.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[tokio::test]
    #[should_panic(expected = "broken on purpose")]
    async fn a_panic_is_the_callers() {
        on_its_own(pending(), |_| async { panic!("broken on purpose") }).await
    }
}
