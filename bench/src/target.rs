//! What is measured: each target opens a session whose shell shows its prompt.

use std::rc::Rc;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::Options;
use crate::adit::Adit;
use crate::floor::Floor;
use crate::openssh::OpenSsh;
use crate::pty::Client;
use crate::terminal::{Terminal, wait_for_prompt};

/// The process that shows a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// A client that is a program of its own.
    Client,
    /// A client that is the server's program too, so that it takes a share of the server's memory.
    SameProgram,
    /// None but this one, so that very many sessions can be open.
    Nothing,
}

/// One way to a shell.
pub struct Target {
    /// The heading of its column.
    pub name: &'static str,
    /// The processes that serve, with all that they start.
    pub roots: Vec<u32>,
    /// What shows a session.
    pub client: Shows,
    open: Box<dyn Fn() -> Result<Box<dyn Terminal>>>,
}

impl Target {
    /// Opens a session and waits for its prompt.
    pub fn open(&self) -> Result<Box<dyn Terminal>> {
        let mut terminal =
            (self.open)().with_context(|| format!("opening a session of {}", self.name))?;
        wait_for_prompt(terminal.as_mut())
            .with_context(|| format!("waiting for the prompt of {}", self.name))?;
        Ok(terminal)
    }
}

/// All targets, running. The servers end when the last target that uses them does, before their folder goes.
pub struct Bench {
    /// In the order of the table's columns; the first is what the others are held against.
    pub targets: Vec<Target>,
    _folder: TempDir,
}

impl Bench {
    /// Starts every server.
    pub fn start(options: &Options) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut targets = Vec::new();
        if OpenSsh::is_installed() {
            let openssh = OpenSsh::start(folder.path())?;
            targets
                .push(target("OpenSSH", openssh.roots(), Shows::Client, move || openssh.client()));
        } else {
            println!(
                "OpenSSH is not installed (apt-get install openssh-server): its column is left out."
            );
        }
        let floor = Rc::new(Floor::start(folder.path())?);
        let adit = Rc::new(Adit::start(&options.adit, &folder.path().join("adit"))?);
        targets.push(target("floor, CLI", floor.roots(), Shows::SameProgram, {
            let floor = floor.clone();
            move || Client::start(std::env::current_exe()?, &floor.client(), &[])
        }));
        targets.push(target("Adit, CLI", adit.roots(), Shows::SameProgram, {
            let adit = adit.clone();
            move || adit.client()
        }));
        targets
            .push(target("floor, WebSocket", floor.roots(), Shows::Nothing, move || floor.dial()));
        targets
            .push(target("Adit, WebSocket", adit.roots(), Shows::Nothing, move || adit.viewer()));
        Ok(Self { targets, _folder: folder })
    }
}

fn target<T: Terminal + 'static>(
    name: &'static str,
    roots: Vec<u32>,
    client: Shows,
    open: impl Fn() -> Result<T> + 'static,
) -> Target {
    Target {
        name,
        roots,
        client,
        open: Box::new(move || Ok(Box::new(open()?) as Box<dyn Terminal>)),
    }
}
