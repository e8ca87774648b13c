mod stop;

use std::{
    future::{Future, poll_fn},
    io::ErrorKind,
    pin::pin,
    process::{ExitStatus, Stdio},
    task::Poll,
};

use tokio::process::Command;

use self::stop::Stop;
use crate::{
    environment,
    failure::{Exit, Failure},
};

/// How a run of curl ended.
pub(super) enum Ended {
    ByItself(ExitStatus),
    /// This command was asked to stop.
    Stopped(Exit),
}

/// Runs the command that `prepare` makes. A signal that stops this command also stops curl. This command ends after
/// curl, so that it can remove the private files.
pub(super) fn run<T>(
    prepare: impl FnOnce() -> Result<(Command, T), Failure>,
) -> Result<(Ended, T), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::cannot_start(&error))?;
    runtime.block_on(async {
        let mut stop = Stop::listen().map_err(|error| Failure::cannot_start(&error))?;
        let (mut command, prepared) = prepare()?;
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::local(
                "curl is not installed, or not in PATH",
                "install curl, or use `countersign sign --format http`",
            ),
            _ => Failure::local(
                format!("cannot run curl: {error}"),
                "check the curl that is in PATH",
            ),
        })?;
        let ended = {
            let mut exited = pin!(child.wait());
            poll_fn(|context| match stop.poll_asked(context) {
                Poll::Ready(exit) => Poll::Ready(Ok(Ended::Stopped(exit))),
                Poll::Pending => exited.as_mut().poll(context).map_ok(ended_by),
            })
            .await
        };
        let ended = ended.map_err(|error| {
            Failure::local(format!("cannot wait for curl: {error}"), "run the command again")
        })?;
        if let Ended::Stopped(_) = ended {
            // curl may have ended already: a key typed at the terminal sends the signal to both processes.
            drop(child.kill().await);
        }
        Ok((ended, prepared))
    })
}

/// Returns a command for curl, with this stdin, and without the variables and the inherited descriptors that lead to secrets of this
/// command.
pub(crate) fn curl(stdin: Stdio, secrets: impl IntoIterator<Item = i32>) -> Command {
    let mut command = Command::new("curl");
    command.stdin(stdin);
    for variable in environment::ALL {
        command.env_remove(variable);
    }
    #[cfg(unix)]
    secrets.into_iter().for_each(withhold);
    #[cfg(not(unix))]
    drop(secrets);
    command
}

/// Closes an inherited descriptor in curl, such as the descriptor of a key.
#[cfg(unix)]
pub(super) fn withhold(descriptor: i32) {
    // curl keeps stdin, stdout and stderr, which are meant for it.
    if descriptor <= 2 {
        return;
    }
    let open = std::fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let open = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let others: Vec<i32> = open.filter(|&other| other != descriptor).collect();
    close_fds::set_fds_cloexec(descriptor, &others);
}

/// Returns how curl ended. A signal to all processes of a terminal can end curl before this command sees the signal.
fn ended_by(status: ExitStatus) -> Ended {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    match signal {
        Some(1) => Ended::Stopped(Exit::HungUp),
        Some(2) => Ended::Stopped(Exit::Interrupted),
        Some(3) => Ended::Stopped(Exit::Quit),
        Some(15) => Ended::Stopped(Exit::Terminated),
        _ => Ended::ByItself(status),
    }
}
