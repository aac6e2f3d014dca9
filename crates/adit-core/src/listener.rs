//! The certificates that the gateway's own listeners show.
//!
//! Who runs a listener gets its certificate, by whichever way, and tells here what it shows; people see that here and wish for a new
//! one. Which way it came by is the binary's affair ([`Source`]); that a change is allowed and written down is this module's.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use adit_domain::{Capability, Code, Timestamp};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::certificate::{self, WARN_BEFORE};

/// How long a request waits for the new certificate; it comes later all the same.
const WAIT_AT_MOST: Duration = Duration::from_secs(25);

/// Wishes that wait for one listener: whoever finds it full is told that one is being got.
const WISHES: usize = 4;

/// A listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Listener {
    /// Where people and the CLI connect.
    People,
    /// Where machines connect, with certificates.
    Machines,
}

impl Listener {
    /// Every listener with its name.
    const NAMES: [(Self, &'static str); 2] =
        [(Self::People, "people"), (Self::Machines, "machines")];

    /// Gives the name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::People => Self::NAMES[0].1,
            Self::Machines => Self::NAMES[1].1,
        }
    }

    /// Finds a listener by its name.
    pub fn find(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(_, known)| *known == name).map(|(listener, _)| listener)
    }
}

/// How a certificate comes to the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// From a certificate authority that speaks ACME (RFC 8555).
    Acme,
    /// From files, which somebody else keeps fresh.
    Files,
    /// From the gateway's own authority.
    SelfMade,
}

impl Source {
    /// Gives the name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acme => "acme",
            Self::Files => "files",
            Self::SelfMade => "self-made",
        }
    }
}

/// What a listener shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// How it came here. While the first one of ACME is awaited, the gateway shows one that it made itself.
    pub source: Source,
    /// The host names and addresses that it is for.
    pub hosts: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// From when on it counts.
    pub not_before: Timestamp,
    /// Until when it counts.
    pub not_after: Timestamp,
}

impl Shown {
    /// Reads a certificate; none when it is no X.509.
    pub fn read(source: Source, der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let hosts = names.iter().flat_map(|names| &names.value.general_names);
        let hosts = hosts.filter_map(host_of).collect();
        let common = certificate.issuer().iter_common_name().next();
        let issuer = match common.and_then(|name| name.as_str().ok()) {
            Some(name) => name.to_owned(),
            None => certificate.issuer().to_string(),
        };
        let validity = certificate.validity();
        Some(Self {
            source,
            hosts,
            issuer,
            serial: hex::encode(certificate.raw_serial()),
            not_before: Timestamp(validity.not_before.timestamp() * 1000),
            not_after: Timestamp(validity.not_after.timestamp() * 1000),
        })
    }

    /// Tells from when on the gateway gets another by itself: after two thirds of its life. Files are somebody else's affair.
    pub fn renew_at(&self) -> Option<Timestamp> {
        let renewed = certificate::renew_at(self.not_before, self.not_after);
        (self.source != Source::Files).then_some(renewed)
    }

    /// Tells how it stands: `valid`, `expiring` when somebody has to look after it, or `expired`.
    pub fn status(&self, now: Timestamp) -> &'static str {
        let life = self.not_after.since(self.not_before);
        match self.not_after.since(now) {
            left if left.is_zero() => "expired",
            left if left < WARN_BEFORE.min(life / 4) => "expiring",
            _ => "valid",
        }
    }
}

fn host_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let six = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            four.or(six).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Why the last attempt at a certificate failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// Why, for an operator.
    pub why: String,
    /// When it is tried again; none for files, which are read when they change.
    pub again_at: Option<Timestamp>,
}

/// How a listener's certificate stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The listener.
    pub listener: Listener,
    /// What it shows.
    pub shown: Shown,
    /// What went wrong since it got that.
    pub failure: Option<Failure>,
    /// Whether another is being got right now.
    pub renewing: bool,
}

/// Somebody's wish for a new certificate, who is told how it went.
pub type Wish = oneshot::Sender<Result<(), String>>;

/// What the listeners show, and how they are asked for another.
#[derive(Debug, Default)]
pub struct Listeners(Mutex<BTreeMap<Listener, Held>>);

#[derive(Debug)]
struct Held {
    standing: Standing,
    wishes: mpsc::Sender<Wish>,
}

impl Listeners {
    /// Adds a listener with what it shows. Whoever runs it hears of wishes.
    pub fn add(&self, listener: Listener, shown: Shown) -> mpsc::Receiver<Wish> {
        let (wishes, heard) = mpsc::channel(WISHES);
        let standing = Standing { listener, shown, failure: None, renewing: false };
        self.held().insert(listener, Held { standing, wishes });
        heard
    }

    /// Says that another certificate is being got.
    pub fn renewing(&self, listener: Listener) {
        self.change(listener, |standing| standing.renewing = true);
    }

    /// Says what a listener shows from now on.
    pub fn renewed(&self, listener: Listener, shown: Shown) {
        self.change(listener, |standing| {
            *standing = Standing { listener, shown, failure: None, renewing: false };
        });
    }

    /// Says that no other could be got; the one before is still shown.
    pub fn failed(&self, listener: Listener, failure: Failure) {
        self.change(listener, |standing| {
            standing.failure = Some(failure);
            standing.renewing = false;
        });
    }

    fn change(&self, listener: Listener, change: impl FnOnce(&mut Standing)) {
        if let Some(held) = self.held().get_mut(&listener) {
            change(&mut held.standing);
        }
    }

    fn all(&self) -> Vec<Standing> {
        self.held().values().map(|held| held.standing.clone()).collect()
    }

    fn wishes(&self, listener: Listener) -> Option<mpsc::Sender<Wish>> {
        self.held().get(&listener).map(|held| held.wishes.clone())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<Listener, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Lists what the gateway's own listeners show (TIX-71).
    ///
    /// # Errors
    /// Policy's reason.
    pub async fn listener_certificates(&self, caller: &Caller) -> Result<Vec<Standing>, Refusal> {
        self.permit_gateway_to(caller, Capability::MachineManage).await?;
        Ok(self.listeners.all())
    }

    /// Gets another certificate for a listener now, and gives how it stands then: still being got, if it takes long.
    ///
    /// # Errors
    /// Policy's reason, [`Code::NotFound`] for a listener without TLS, [`Code::CertificateNotIssued`] with the reason when there is
    /// none; the one before is still shown.
    pub async fn renew_listener_certificate(
        &self,
        caller: &Caller,
        listener: &str,
    ) -> Result<Standing, Refusal> {
        self.permit_gateway_to(caller, Capability::MachineManage).await?;
        let listener = Listener::find(listener).ok_or(Code::NotFound)?;
        let wishes = self.listeners.wishes(listener).ok_or(Code::NotFound)?;
        let sentence =
            format!("A new certificate of the listener for {} was asked for", listener.name());
        let event = self.event("gateway_certificate.renew", &caller.actor(), &sentence);
        let event = event.with("listener", json!(listener.name()));
        self.record(event).await?;
        let (told, outcome) = oneshot::channel();
        if wishes.try_send(told).is_ok() {
            let outcome = tokio::time::timeout(WAIT_AT_MOST, outcome).await;
            if let Ok(Ok(Err(why))) = outcome {
                return Err(Refusal::Said(Code::CertificateNotIssued, why));
            }
        }
        let mut all = self.listeners.all().into_iter();
        Ok(all.find(|standing| standing.listener == listener).ok_or(Code::NotFound)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_name_only() {
        for listener in [Listener::People, Listener::Machines] {
            assert_eq!(Listener::find(listener.name()), Some(listener));
        }
        assert_eq!(Listener::find("People"), None);
    }
}
