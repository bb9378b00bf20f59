//! Child processes: this program, started again with a subcommand.
//!
//! A child says on its standard output where it listens, and takes commands, one a line, from its standard input. It ends with its
//! parent: on the end of its input, which follows however the parent ends, and on Linux by a signal too, which also ends a child
//! that is stopped.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

use crate::Error;

/// How long a child may take to answer. A machine under load starts processes slowly.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running child. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    commands: ChildStdin,
    replies: UnboundedReceiver<String>,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a child, and waits until it listens.
    pub(crate) async fn start(arguments: &[String]) -> Result<Self, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|cause| format!("cannot start {arguments:?}: {cause}"))?;
        let (Some(commands), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a child without pipes".into());
        };
        let (sender, replies) = unbounded_channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self { child, commands, replies, address: nowhere };
        process.address = process.reply().await.map_err(|cause| format!("{arguments:?}: {cause}"))?.parse()?;
        Ok(process)
    }

    /// Sends a command, and waits until it is carried out.
    pub(crate) async fn command(&mut self, command: &str) -> Result<(), Error> {
        match self.ask(command).await?.as_str() {
            "done" => Ok(()),
            other => Err(format!("a child answers {command:?} with {other:?}").into()),
        }
    }

    /// Sends a command, and returns the answer.
    pub(crate) async fn ask(&mut self, command: &str) -> Result<String, Error> {
        writeln!(self.commands, "{command}")?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<String, Error> {
        match timeout(PATIENCE, self.replies.recv()).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err("the child has ended".into()),
            Err(_) => Err(format!("the child has said nothing for {PATIENCE:?}").into()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Kills it, as a crash or the kernel would.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it finish its calls, and waits for its end.
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        writeln!(self.commands, "finish")?;
        let ended = async {
            while self.child.try_wait()?.is_none() {
                sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, Error>(())
        };
        timeout(PATIENCE, ended).await.map_err(|_| "a drained child does not end")?
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The commands to this child. The process ends with its parent.
pub(crate) fn commands() -> UnboundedReceiver<String> {
    #[cfg(target_os = "linux")]
    // Without it a child that is stopped would stay when its parent is killed.
    let _unsupported = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let (sender, commands) = unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    commands
}

/// Tells the parent something.
pub(crate) fn tell(what: impl std::fmt::Display) {
    println!("{what}");
}
