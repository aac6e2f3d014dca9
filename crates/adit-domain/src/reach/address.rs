//! Addresses that a machine may tell others to dial: public ones, and those of an operator's allow list.
//!
//! A name is only a name here. Whoever dials it resolves it, holds each address against [`Networks::allow`] and connects to an
//! address that passed, so that a name server which changes its mind changes nothing (RFC 6890, RFC 4291, RFC 6052).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest host, in characters (TIX-21).
pub const MAX_HOST_CHARS: usize = 255;

/// A host that machines dial: a public address, or a name that is not one of those that mean this machine or a cloud's metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DirectHost {
    /// An address.
    Address(IpAddr),
    /// A name, in lower case and without a trailing dot.
    Name(String),
}

/// Why a host is not one for machines to dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadHost {
    /// Of another form.
    #[error(
        "a host is a name or an address of 1 to 255 characters, an IPv4 address in four decimal parts"
    )]
    Form,
    /// Not public.
    #[error("this address is not a public one; an operator can allow its network in the settings")]
    NotPublic,
}

/// Networks that an operator allows, though they are not public.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Networks(Vec<(IpAddr, u8)>);

impl Networks {
    /// Reads networks written as `10.0.0.0/8` or as one address.
    ///
    /// # Errors
    /// [`BadHost::Form`] for anything else.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadHost> {
        let one = |text: &str| -> Result<(IpAddr, u8), BadHost> {
            let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
            let address: IpAddr = address.parse().map_err(|_| BadHost::Form)?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| BadHost::Form))?;
            if bits > most { Err(BadHost::Form) } else { Ok((address, bits)) }
        };
        texts.into_iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Tells whether an address may be dialled: a public one, or one of these networks.
    pub fn allow(&self, address: IpAddr) -> bool {
        is_public(address) || self.0.iter().any(|(network, bits)| within(address, *network, *bits))
    }

    /// Writes them as they are read.
    pub fn words(&self) -> Vec<String> {
        self.0.iter().map(|(address, bits)| format!("{address}/{bits}")).collect()
    }

    /// Reads a host, and holds it against what may be dialled as far as its text says.
    ///
    /// # Errors
    /// [`BadHost`] with what is wrong.
    pub fn host(&self, text: &str) -> Result<DirectHost, BadHost> {
        let host: DirectHost = text.parse()?;
        match &host {
            DirectHost::Address(address) if !self.allow(*address) => Err(BadHost::NotPublic),
            DirectHost::Name(name) if is_local_name(name) => Err(BadHost::NotPublic),
            _ => Ok(host),
        }
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differ = address.to_bits() ^ network.to_bits();
            bits == 0 || differ >> (32 - u32::from(bits)) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differ = address.to_bits() ^ network.to_bits();
            bits == 0 || differ >> (128 - u32::from(bits)) == 0
        }
        _ => false,
    }
}

impl FromStr for DirectHost {
    type Err = BadHost;
    fn from_str(text: &str) -> Result<Self, BadHost> {
        if !(1..=MAX_HOST_CHARS).contains(&text.len()) || !text.is_ascii() {
            return Err(BadHost::Form);
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(inside) = bare {
            return inside
                .parse()
                .map(|v6: Ipv6Addr| Self::Address(v6.into()))
                .map_err(|_| BadHost::Form);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        let name = text.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let label = |part: &str| {
            (1..=63).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        // A last part that is a number is read as an address by resolvers: 127.1, 0x7f000001, 0177.0.0.1 (WHATWG URL, ends-in-a-number).
        let last = name.rsplit('.').next().unwrap_or_default();
        let number = last.bytes().all(|b| b.is_ascii_digit())
            || last
                .strip_prefix("0x")
                .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if number || !name.split('.').all(label) {
            return Err(BadHost::Form);
        }
        Ok(Self::Name(name.to_owned()))
    }
}

impl fmt::Display for DirectHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Names that mean this machine, or the metadata of whoever it is rented from.
fn is_local_name(name: &str) -> bool {
    const LOCAL: &[&str] =
        &["localhost", "local", "localdomain", "internal", "home.arpa", "lan", "intranet"];
    const METADATA: &[&str] =
        &["metadata", "instance-data", "ip6-localhost", "ip6-loopback", "broadcasthost"];
    let ends =
        |end: &str| name == end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    // A name in Unicode's clothes could be any of these to whoever resolves it.
    let masked = name.split('.').any(|part| part.starts_with("xn--"));
    LOCAL.iter().any(|end| ends(end)) || METADATA.contains(&name) || masked
}

/// Tells whether an address is one of the public internet: not this host, not a private or shared network, not one kept for a purpose.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Networks of IPv4 that are not public (RFC 6890 and its updates), and one that a cloud answers metadata at.
const NOT_PUBLIC: &[([u8; 4], u8)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([192, 175, 48, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC
        .iter()
        .any(|(network, bits)| within(address.into(), Ipv4Addr::from(*network).into(), *bits))
}

/// Only 2000::/3 is given out; of that, what is kept for a purpose, and every form that carries an IPv4 address, is refused.
fn is_public_v6(address: Ipv6Addr) -> bool {
    const WITHIN: &[([u16; 8], u8)] = &[
        // IETF protocols, Teredo, benchmarks, ORCHID among them.
        ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
        ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
        ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48),
        ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    ];
    let global = within(address.into(), Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0).into(), 3);
    global
        && !WITHIN
            .iter()
            .any(|(network, bits)| within(address.into(), Ipv6Addr::from(*network).into(), *bits))
}

#[cfg(test)]
#[path = "address/tests.rs"]
mod tests;
