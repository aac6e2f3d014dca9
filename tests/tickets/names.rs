//! A name server that changes its mind, and what asks it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

/// A name server on an address of loopback, and a `resolv.conf` that names it.
pub struct Names {
    folder: TempDir,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Names {
    /// Serves names with the addresses that each has in turn; the last one stays.
    pub fn serve(address: Ipv4Addr, names: &[(&str, &[Ipv4Addr])]) -> Self {
        let socket = UdpSocket::bind((address, 53)).expect("root may take port 53 of loopback");
        let known: HashMap<String, Vec<Ipv4Addr>> =
            names.iter().map(|(name, all)| ((*name).to_owned(), all.to_vec())).collect();
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                if let Some(answer) = answer(&packet[..length], &known, &count) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let text = format!("nameserver {address}\noptions attempts:1 timeout:1\n");
        std::fs::write(folder.path().join("resolv.conf"), text).unwrap();
        Self { folder, asked }
    }

    pub fn resolv_conf(&self) -> PathBuf {
        self.folder.path().join("resolv.conf")
    }

    /// Gives a command that runs another one which asks this server.
    pub fn asked_by(&self, command: &Command) -> Command {
        let mut under = Command::new("unshare");
        under.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]);
        under.arg(self.resolv_conf()).arg(command.get_program()).args(command.get_args());
        under
    }

    /// Tells how often a name was asked for.
    pub fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

/// Answers a query for an address (RFC 1035 §4.1): one A record, or nothing for other kinds.
fn answer(
    query: &[u8],
    known: &HashMap<String, Vec<Ipv4Addr>>,
    asked: &Mutex<HashMap<String, usize>>,
) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        name.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let name = name.join(".");
    let addresses = known.get(&name);
    let record = addresses.filter(|_| kind == 1).and_then(|all| {
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(name).or_insert(0);
        let turn = (*times).min(all.len() - 1);
        *times += 1;
        all.get(turn).copied()
    });
    let mut packet = query.get(..at + 4)?.to_vec();
    packet[2] = 0x85;
    packet[3] = if addresses.is_some() { 0x80 } else { 0x83 };
    packet[6..12].copy_from_slice(&[0, u8::from(record.is_some()), 0, 0, 0, 0]);
    if let Some(address) = record {
        packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        packet.extend(address.octets());
    }
    Some(packet)
}
