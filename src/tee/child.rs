//! The server as a child process: started, signalled, waited for.

use super::killed_by;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::thread;
use tokio::sync::oneshot;

/// A running server.
pub(super) struct Child {
    process: Pid,
    ended: oneshot::Receiver<u8>,
    /// Whether a terminal sends its signals to the server itself.
    has_terminal: bool,
}

impl Child {
    /// Starts a server; its standard input is ours.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(
        program: &OsStr,
        arguments: &[OsString],
    ) -> io::Result<(Self, ChildStdout, ChildStderr)> {
        let mut command = Command::new(program);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let outputs = child.stdout.take().zip(child.stderr.take());
        let (stdout, stderr) = outputs.ok_or_else(|| io::Error::other("no pipes to the server"))?;
        let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process = process.ok_or_else(|| io::Error::other("a process without a number"))?;
        let (sender, ended) = oneshot::channel();
        thread::Builder::new().name("tee-wait".to_owned()).spawn(move || {
            let _nobody_waits: Result<(), u8> = sender.send(wait_for(process));
        })?;
        let has_terminal = io::stdin().is_terminal() || io::stderr().is_terminal();
        Ok((Self { process, ended, has_terminal }, stdout, stderr))
    }

    /// Its exit code, once it has ended.
    pub(super) async fn ended(&mut self) -> u8 {
        // The waiting thread always answers.
        (&mut self.ended).await.unwrap_or(1)
    }

    /// Gives it a signal that we got. What a terminal sends, it has sent to the server as well, and a second
    /// interrupt makes some servers end without finishing.
    pub(super) fn pass_on(&self, number: i32) {
        let is_of_terminal = [Signal::INT, Signal::QUIT, Signal::HUP].map(Signal::as_raw).contains(&number);
        if is_of_terminal && self.has_terminal {
            return;
        }
        if let Some(signal) = Signal::from_named_raw(number) {
            // It may have ended just now.
            let _it_is_gone: Result<(), _> = kill_process(self.process, signal);
        }
    }
}

/// Waits for a process to end, and for every other one that ends meanwhile: as the first process of a container we
/// are the parent of all that lose theirs.
fn wait_for(process: Pid) -> u8 {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == process => {
                let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
                return code.or(status.terminating_signal().map(killed_by)).unwrap_or(1);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return 1,
        }
    }
}
