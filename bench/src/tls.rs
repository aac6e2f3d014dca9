//! A TLS connection that does not block, for the bare relays.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::fd::{AsFd, BorrowedFd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};

use crate::side::Side;

const CERTIFICATE: &str = "floor.pem";
const KEY: &str = "floor.key";

/// Makes the certificate that the relays show and trust.
pub fn write_certificate(folder: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(folder.join(CERTIFICATE), made.cert.pem())?;
    std::fs::write(folder.join(KEY), made.signing_key.serialize_pem())?;
    Ok(())
}

/// What a relay shows to those that dial it.
pub fn server_config(folder: &Path) -> Result<Arc<ServerConfig>> {
    let certificate = CertificateDer::from_pem_file(folder.join(CERTIFICATE))?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY))?;
    Ok(Arc::new(
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?,
    ))
}

/// What a relay trusts.
pub fn client_config(folder: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join(CERTIFICATE))?)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// One connection and the plain bytes that wait for it.
pub struct Tls {
    socket: TcpStream,
    tls: Connection,
    queue: Vec<u8>,
}

impl Tls {
    /// Dials a relay.
    pub fn dial(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Self> {
        let socket = TcpStream::connect(address).with_context(|| format!("dialling {address}"))?;
        let tls = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
        Self::new(socket, tls.into())
    }

    /// Takes a connection from a listener.
    pub fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> Result<Self> {
        Self::new(socket, ServerConnection::new(config)?.into())
    }

    fn new(socket: TcpStream, tls: Connection) -> Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut side = Self { socket, tls, queue: Vec::new() };
        side.put(&[])?;
        Ok(side)
    }

    /// Hands queued bytes to TLS and TLS records to the socket, until neither moves.
    fn flush(&mut self) -> io::Result<()> {
        loop {
            let sealed = self.tls.writer().write(&self.queue)?;
            self.queue.drain(..sealed);
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            if sealed == 0 || self.queue.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Side for Tls {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn take(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let start = into.len();
        into.resize(start + state.plaintext_bytes_to_read(), 0);
        self.tls.reader().read_exact(&mut into[start..])?;
        self.flush()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.queue.extend_from_slice(bytes);
        self.flush()
    }

    fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.tls.wants_write())
    }
}
