//! The least that any server of this shape does: it moves bytes between a terminal and a TLS connection, with no
//! protocol, no accounts and no record. A client, a relay and a server are what a CLI, a gateway and an agent are.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use clap::Subcommand;
use pty_process::Size;
use rustix::fd::BorrowedFd;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::pty::SIZE;
use crate::side::{Plain, Side, relay};
use crate::terminal::Terminal;
use crate::tls::{Tls, client_config, server_config, write_certificate};

#[derive(Subcommand)]
pub enum Part {
    /// Starts a shell for each connection.
    Server { folder: PathBuf },
    /// Carries each connection on to the server.
    Relay { folder: PathBuf, to: SocketAddr },
    /// Shows one connection in this terminal.
    Client { folder: PathBuf, to: SocketAddr },
    /// Carries each connection on to a port.
    Out { folder: PathBuf, to: SocketAddr },
    /// Carries each plain connection on to the relay.
    In { folder: PathBuf, to: SocketAddr },
}

/// Plays one part of the relay.
pub fn run(part: Part) -> Result<()> {
    match part {
        Part::Server { folder } => serve(&folder, serve_shell),
        Part::Relay { folder, to } => {
            let config = client_config(&folder)?;
            serve(&folder, move |connection| Ok(relay(connection, Tls::dial(to, config.clone())?)?))
        }
        Part::Client { folder, to } => show(&folder, to),
        Part::Out { folder, to } => {
            serve(&folder, move |connection| Ok(relay(connection, Plain::new(dial(to)?))?))
        }
        Part::In { folder, to } => {
            let config = client_config(&folder)?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            println!("{}", listener.local_addr()?);
            for socket in listener.incoming() {
                let (socket, config) = (socket?, config.clone());
                socket.set_nonblocking(true)?;
                // The end of a connection ends its relay: that is how each of them ends.
                std::thread::spawn(move || {
                    Tls::dial(to, config).is_ok_and(|tls| relay(Plain::new(socket), tls).is_ok())
                });
            }
            Ok(())
        }
    }
}

fn dial(to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(to)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A port that is reached over two TLS hops; its three processes end with this value.
pub struct Carrier {
    parts: Vec<Child>,
    address: SocketAddr,
}

impl Carrier {
    /// Starts all three before a port.
    pub fn start(folder: &Path, to: SocketAddr) -> Result<Self> {
        write_certificate(folder)?;
        let folder = folder.display().to_string();
        let mut parts = Vec::new();
        let mut address = to;
        for part in ["out", "relay", "in"] {
            let (child, next) = start(&["floor", part, &folder, &address.to_string()])?;
            parts.push(child);
            address = next;
        }
        Ok(Self { parts, address })
    }

    /// Where programs find the port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        for child in &mut self.parts {
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}

/// The two servers, started; they end with this value.
pub struct Floor {
    server: Child,
    relay: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Floor {
    /// Starts the server and the relay before it.
    pub fn start(folder: &Path) -> Result<Self> {
        write_certificate(folder)?;
        let folder_arg = folder.display().to_string();
        let (server, address) = start(&["floor", "server", &folder_arg])?;
        let (relay, address) = start(&["floor", "relay", &folder_arg, &address.to_string()])?;
        Ok(Self { server, relay, folder: folder.to_owned(), address })
    }

    /// The processes that serve.
    pub fn roots(&self) -> Vec<u32> {
        vec![self.server.id(), self.relay.id()]
    }

    /// The arguments of this program that make it the client.
    pub fn client(&self) -> Vec<String> {
        vec![
            "floor".into(),
            "client".into(),
            self.folder.display().to_string(),
            self.address.to_string(),
        ]
    }

    /// Dials the relay from this process.
    pub fn dial(&self) -> Result<Stream> {
        Ok(Stream(Tls::dial(self.address, client_config(&self.folder)?)?))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        for child in [&mut self.relay, &mut self.server] {
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}

/// A session without a client process.
pub struct Stream(Tls);

impl Terminal for Stream {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.put(bytes)?)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    fn take(&mut self, into: &mut Vec<u8>) -> Result<()> {
        Ok(self.0.take(into)?)
    }
}

/// Starts one server and reads the address that it prints.
fn start(args: &[&str]) -> Result<(Child, SocketAddr)> {
    let mut child =
        Command::new(std::env::current_exe()?).args(args).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output is a pipe")?).read_line(&mut line)?;
    let address = line.trim().parse().with_context(|| format!("{args:?} printed no address"))?;
    Ok((child, address))
}

/// Serves each connection on a thread of its own, on a free port that it prints.
fn serve(folder: &Path, each: impl Fn(Tls) -> Result<()> + Clone + Send + 'static) -> Result<()> {
    let config = server_config(folder)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    for socket in listener.incoming() {
        let (socket, config, each) = (socket?, config.clone(), each.clone());
        // The end of a connection ends its relay: that is how each of them ends.
        std::thread::spawn(move || Tls::accept(socket, config).and_then(each).is_ok());
    }
    Ok(())
}

fn serve_shell(connection: Tls) -> Result<()> {
    let (pty, pts) = pty_process::blocking::open()?;
    pty.resize(Size::new(SIZE.0, SIZE.1))?;
    let mut shell = pty_process::blocking::Command::new("/bin/sh").arg("-i").spawn(pts)?;
    fcntl_setfl(&pty, fcntl_getfl(&pty)? | OFlags::NONBLOCK)?;
    let ended = relay(connection, Plain::new(pty));
    shell.kill()?;
    shell.wait()?;
    Ok(ended?)
}

fn show(folder: &Path, to: SocketAddr) -> Result<()> {
    let terminal = std::fs::File::options().read(true).write(true).open("/dev/tty")?;
    let mut modes = tcgetattr(&terminal)?;
    modes.make_raw();
    tcsetattr(&terminal, OptionalActions::Drain, &modes)?;
    fcntl_setfl(&terminal, fcntl_getfl(&terminal)? | OFlags::NONBLOCK)?;
    Ok(relay(Tls::dial(to, client_config(folder)?)?, Plain::new(terminal))?)
}
