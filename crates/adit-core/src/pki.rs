//! The gateway's own certificate authority: for its machine listener, for machines and for operators.
//!
//! A root signs issuing authorities, and the newest of these signs everything else; rotating it disturbs nobody, because all trust the
//! root. All are files in the gateway's folder: `ca.key` and `ca.pem` are the root's, `issuing-1.key` and `issuing-1.pem` the first
//! issuing authority's. Names in a certificate are the gateway's choice alone: of a request only the public key is used (RFC 2986), so
//! it cannot ask for another machine's name, for a CA or for another use.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use adit_domain::{CertificateName, Clock, Code, Ids, MachineId, Secret, Timestamp};
use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::access::Refusal;
use crate::keys::{KeyError, load_or_make, write_private};

/// How long the root lasts.
const ROOT_DAYS: i64 = 3650;

/// How long an issuing authority lasts: it is rotated long before, and what it signed ends with it.
const ISSUING_DAYS: i64 = 730;

/// From when before its end an issuing authority is rotated by itself, so that what it signs need not be cut short.
pub const ROTATE_BEFORE: std::time::Duration = std::time::Duration::from_secs(120 * 86_400);

/// How long the listener's certificate lasts.
const LISTENER_DAYS: i64 = 90;

/// How far back a certificate begins: a machine's clock may be behind.
const BACKDATED: Duration = Duration::days(1);

/// Issuing authorities that are kept; a folder with more was not written by us.
const MAX_ISSUING: u32 = 1_000;

/// What a machine or an operator gets.
#[derive(Clone, Debug)]
pub struct Made {
    /// The certificate and the issuing authority's, PEM (RFC 7468).
    pub pem: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// SHA-256 of its DER form.
    pub fingerprint: [u8; 32],
    /// The issuing authority's common name.
    pub issuer: String,
    /// From when on it counts.
    pub not_before: Timestamp,
    /// Until when it counts.
    pub not_after: Timestamp,
}

/// A listener's certificate and its key, in PEM.
#[derive(Debug)]
pub struct Listener {
    /// The chain.
    pub chain_pem: String,
    /// The key.
    pub key_pem: Secret<String>,
}

/// A request for a certificate, of which only the public key counts.
#[derive(Debug)]
pub struct Request(SubjectPublicKeyInfo);

impl Request {
    /// Reads a PKCS #10 request in PEM. The names, uses and extensions that it asks for are not looked at (AGT-06).
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] for anything but a request that is signed with its own ECDSA P-256, P-384 or Ed25519 key.
    pub fn read(pem: &str) -> Result<Self, Refusal> {
        let bad = |why: &str| {
            Refusal::Said(
                Code::RequestInvalid,
                format!("The certificate request cannot be used: {why}."),
            )
        };
        let form = "it is not a signed PKCS #10 request in PEM";
        let block = ::pem::parse(pem).map_err(|_| bad(form))?;
        let (rest, request) =
            X509CertificationRequest::from_der(block.contents()).map_err(|_| bad(form))?;
        if !rest.is_empty() || !block.tag().ends_with("CERTIFICATE REQUEST") {
            return Err(bad(form));
        }
        let key = &request.certification_request_info.subject_pki;
        let curve = key.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
        let kind = &key.algorithm.algorithm;
        let is_edwards = *kind == oid_registry::OID_SIG_ED25519;
        let is_ecdsa = *kind == oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY
            && curve.is_some_and(|curve| {
                curve == oid_registry::OID_EC_P256 || curve == oid_registry::OID_NIST_EC_P384
            });
        if !is_edwards && !is_ecdsa {
            return Err(bad("its key is neither ECDSA P-256 or P-384 nor Ed25519"));
        }
        request.verify_signature().map_err(|_| bad("its own key did not sign it"))?;
        let key = SubjectPublicKeyInfo::from_der(key.raw)
            .map_err(|_| bad("its public key cannot be read"))?;
        Ok(Self(key))
    }
}

/// An authority of the gateway, as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its common name.
    pub name: String,
    /// Its certificate, PEM.
    pub pem: String,
    /// Until when it counts.
    pub not_after: Timestamp,
    /// Whether it signs what is issued now.
    pub signs: bool,
}

struct Issuing {
    number: u32,
    name: String,
    issuer: Option<Issuer<'static, KeyPair>>,
    pem: String,
    der: Vec<u8>,
    not_after: Timestamp,
}

struct Authority {
    root: Option<Issuer<'static, KeyPair>>,
    root_name: String,
    root_pem: String,
    root_der: Vec<u8>,
    root_not_after: Timestamp,
    /// The newest last; without those that have expired.
    issuing: Vec<Issuing>,
    /// The number that was given last.
    last: u32,
}

/// The authority.
pub struct Pki {
    dir: PathBuf,
    authority: RwLock<Arc<Authority>>,
    rotations: watch::Sender<u32>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pki(…)")
    }
}

impl Pki {
    /// Reads the authority of a folder, making what is not there. The root's key may be kept elsewhere, except while it is needed.
    ///
    /// # Errors
    /// [`KeyError`] when a file cannot be read or does not hold what it should.
    pub fn load(dir: &Path, clock: &dyn Clock) -> Result<Self, KeyError> {
        let now = clock.now();
        let mut authority = load_root(dir, now)?;
        (authority.issuing, authority.last) = load_issuing(dir, now)?;
        let signs = authority.issuing.iter().rev().find(|a| a.issuer.is_some());
        if signs.is_none_or(|a| a.not_after.since(now) < ROTATE_BEFORE) && authority.root.is_some()
        {
            let next = authority.make_issuing(dir, now)?;
            authority.last = next.number;
            authority.issuing.push(next);
        }
        if !authority.issuing.iter().any(|a| a.issuer.is_some()) {
            return Err(KeyError::Form(dir.join("ca.key")));
        }
        let newest = authority.last;
        Ok(Self {
            dir: dir.to_owned(),
            authority: RwLock::new(Arc::new(authority)),
            rotations: watch::Sender::new(newest),
        })
    }

    fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the root's certificate in PEM.
    pub fn ca_pem(&self) -> String {
        self.authority().root_pem.clone()
    }

    /// Gives the certificates, in DER, that a client's may come from: the root's and every issuing authority's that has not expired.
    pub fn anchors(&self) -> Vec<Vec<u8>> {
        let authority = self.authority();
        let issuing = authority.issuing.iter().map(|a| a.der.clone());
        std::iter::once(authority.root_der.clone()).chain(issuing).collect()
    }

    /// Gives a number that moves when the issuing authority is rotated.
    pub fn rotations(&self) -> watch::Receiver<u32> {
        self.rotations.subscribe()
    }

    /// Lists the root and the issuing authorities, the newest last.
    pub fn list(&self) -> Vec<Listed> {
        let authority = self.authority();
        let signing = authority.signing().map(|(a, _)| a.number);
        let root = Listed {
            name: authority.root_name.clone(),
            pem: authority.root_pem.clone(),
            not_after: authority.root_not_after,
            signs: false,
        };
        let issuing = authority.issuing.iter().map(|a| Listed {
            name: a.name.clone(),
            pem: a.pem.clone(),
            not_after: a.not_after,
            signs: Some(a.number) == signing,
        });
        std::iter::once(root).chain(issuing).collect()
    }

    /// Tells when the issuing authority that signs now ends.
    pub fn signs_until(&self) -> Timestamp {
        let authority = self.authority();
        authority.signing().map_or(Timestamp(0), |(a, _)| a.not_after)
    }

    /// Makes a new issuing authority; the ones before it stay trusted until they expire.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the root's key is not here, [`Code::Internal`] when the files cannot be written.
    pub fn rotate(&self, now: Timestamp) -> Result<Listed, Refusal> {
        let mut held = self.authority.write().unwrap_or_else(PoisonError::into_inner);
        if held.root.is_none() {
            return Err(Refusal::Said(
                Code::Conflict,
                "The root's key `ca.key` is not in the gateway's folder. Put it back for as long as this takes.".into(),
            ));
        }
        let next = held.make_issuing(&self.dir, now).map_err(|error| {
            tracing::error!(%error, "a new issuing authority could not be kept");
            Refusal::Code(Code::Internal)
        })?;
        let (number, name) = (next.number, next.name.clone());
        // Read anew instead of copied: a signing key has no copy.
        let fresh = load_root(&self.dir, now).and_then(|mut authority| {
            (authority.issuing, authority.last) = load_issuing(&self.dir, now)?;
            Ok(authority)
        });
        *held = Arc::new(fresh.map_err(|error| {
            tracing::error!(%error, "the authority could not be read");
            Refusal::Code(Code::Internal)
        })?);
        drop(held);
        self.rotations.send_replace(number);
        let listed = self.list().into_iter().find(|a| a.name == name);
        listed.ok_or(Refusal::Code(Code::Internal))
    }

    /// Certifies somebody, for client authentication only: the name as CN, a machine's id as a URI.
    ///
    /// # Errors
    /// [`Code::Internal`] when the certificate cannot be made.
    pub fn certify(
        &self,
        request: &Request,
        name: &CertificateName,
        machine: Option<MachineId>,
        (life, now): (std::time::Duration, Timestamp),
        ids: &dyn Ids,
    ) -> Result<Made, Refusal> {
        let internal = || Refusal::Code(Code::Internal);
        let authority = self.authority();
        let (issuing, issuer) = authority.signing().ok_or_else(internal)?;
        let not_after = (now + life).min(issuing.not_after);
        let mut params = leaf(&name.to_string(), now, not_after);
        let serial = serial(ids);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        if let Some(machine) = machine {
            let uri = machine_uri(machine).try_into().map_err(|_| internal())?;
            params.subject_alt_names = vec![SanType::URI(uri)];
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made = params.signed_by(&request.0, issuer).map_err(|_| internal())?;
        Ok(Made {
            pem: format!("{}{}", made.pem(), issuing.pem),
            serial: hex::encode(serial),
            fingerprint: fingerprint(made.der()),
            issuer: issuing.name.clone(),
            not_before: timestamp(params.not_before),
            not_after: timestamp(params.not_after),
        })
    }

    /// Makes a certificate for the machine listener.
    ///
    /// # Errors
    /// [`Code::Internal`] when it cannot be made.
    pub fn certify_listener(&self, hosts: &[String], now: Timestamp) -> Result<Listener, Refusal> {
        let internal = || Refusal::Code(Code::Internal);
        let authority = self.authority();
        let (issuing, issuer) = authority.signing().ok_or_else(internal)?;
        let key = KeyPair::generate().map_err(|_| internal())?;
        let not_after = now + days(LISTENER_DAYS);
        let mut params = leaf("adit gateway", now, not_after.min(issuing.not_after));
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into().map_err(|_| internal())?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let made = params.signed_by(&key, issuer).map_err(|_| internal())?;
        let chain_pem = format!("{}{}", made.pem(), issuing.pem);
        Ok(Listener { chain_pem, key_pem: Secret::new(key.serialize_pem()) })
    }

    /// Reads a certificate that was issued before issuing authorities were: signed by the root itself, for a machine.
    pub fn read_early(&self, der: &[u8]) -> Option<Early> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let authority = self.authority();
        let (_, root) = X509Certificate::from_der(&authority.root_der).ok()?;
        if certificate.issuer().as_raw() != root.subject().as_raw() {
            return None;
        }
        Some(Early {
            machine: machine_of(&certificate)?,
            serial: hex::encode(certificate.raw_serial()),
            issuer: authority.root_name.clone(),
            not_before: Timestamp(certificate.validity().not_before.timestamp() * 1000),
            not_after: Timestamp(certificate.validity().not_after.timestamp() * 1000),
        })
    }
}

/// A machine's certificate of an earlier version, which no row knows yet.
#[derive(Debug)]
pub struct Early {
    /// The machine.
    pub machine: MachineId,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// The root's common name.
    pub issuer: String,
    /// From when on it counts.
    pub not_before: Timestamp,
    /// Until when it counts.
    pub not_after: Timestamp,
}

impl Authority {
    /// Gives the issuing authority that signs: the newest whose key is here.
    fn signing(&self) -> Option<(&Issuing, &Issuer<'static, KeyPair>)> {
        self.issuing.iter().rev().find_map(|a| a.issuer.as_ref().map(|issuer| (a, issuer)))
    }

    fn make_issuing(&self, dir: &Path, now: Timestamp) -> Result<Issuing, KeyError> {
        let number = self.last + 1;
        let (key_path, cert_path) = issuing_paths(dir, number);
        let root = self.root.as_ref().ok_or_else(|| KeyError::Form(dir.join("ca.key")))?;
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| KeyError::Io { path, source }
        };
        let key = KeyPair::generate().expect("the system has a random source");
        let not_after = (now + days(ISSUING_DAYS)).min(self.root_not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("{} {number}", self.root_name));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = moment(now) - BACKDATED;
        params.not_after = moment(not_after);
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(&key, root).map_err(|_| KeyError::Form(cert_path.clone()))?;
        write_private(&key_path, key.serialize_pem().as_bytes()).map_err(io(&key_path))?;
        write_private(&cert_path, made.pem().as_bytes()).map_err(io(&cert_path))?;
        read_issuing(dir, number)
    }
}

fn issuing_paths(dir: &Path, number: u32) -> (PathBuf, PathBuf) {
    (dir.join(format!("issuing-{number}.key")), dir.join(format!("issuing-{number}.pem")))
}

/// Reads the root, makes it at the first start, and renews the certificate of one that could not yet sign an authority.
fn load_root(dir: &Path, now: Timestamp) -> Result<Authority, KeyError> {
    let (key_path, cert_path) = (dir.join("ca.key"), dir.join("ca.pem"));
    let form = |path: &Path| KeyError::Form(PathBuf::from(path));
    let has_key = key_path.exists() || !cert_path.exists();
    let key = if has_key {
        let text = load_or_make(&key_path, || {
            let key = KeyPair::generate().expect("the system has a random source");
            key.serialize_pem().into_bytes()
        })?;
        let text = String::from_utf8(text).map_err(|_| form(&key_path))?;
        Some(KeyPair::from_pem(&text).map_err(|_| form(&key_path))?)
    } else {
        None
    };
    let make = || match &key {
        Some(key) => self_signed(key, now).into_bytes(),
        None => Vec::new(),
    };
    let mut pem =
        String::from_utf8(load_or_make(&cert_path, make)?).map_err(|_| form(&cert_path))?;
    if let (Some(key), true) = (&key, ends_at_leaves(&pem)) {
        // The same name and key, so whoever trusts the certificate before trusts this one's signatures too.
        let io = |source| KeyError::Io { path: cert_path.clone(), source };
        write_private(&dir.join("ca-before.pem"), pem.as_bytes()).map_err(io)?;
        pem = self_signed(key, now);
        write_private(&cert_path, pem.as_bytes()).map_err(io)?;
    }
    let der = der_of(&pem).ok_or_else(|| form(&cert_path))?;
    let (name, not_after) = read_name(&der).ok_or_else(|| form(&cert_path))?;
    let root = key.map(|key| Issuer::from_ca_cert_pem(&pem, key)).transpose();
    let root = root.map_err(|_| form(&cert_path))?;
    Ok(Authority {
        root,
        root_name: name,
        root_pem: pem,
        root_der: der,
        root_not_after: not_after,
        issuing: Vec::new(),
        last: 0,
    })
}

/// Reads the issuing authorities that have not expired, and the number that was given last.
fn load_issuing(dir: &Path, now: Timestamp) -> Result<(Vec<Issuing>, u32), KeyError> {
    let (mut found, mut last) = (Vec::new(), 0);
    let numbers = (1..=MAX_ISSUING).take_while(|number| issuing_paths(dir, *number).1.exists());
    for number in numbers {
        let issuing = read_issuing(dir, number)?;
        last = number;
        if issuing.not_after > now {
            found.push(issuing);
        }
    }
    Ok((found, last))
}

fn read_issuing(dir: &Path, number: u32) -> Result<Issuing, KeyError> {
    let (key_path, cert_path) = issuing_paths(dir, number);
    let read = |path: &Path| -> Result<String, KeyError> {
        let text = load_or_make(path, Vec::new)?;
        String::from_utf8(text).map_err(|_| KeyError::Form(path.to_owned()))
    };
    let pem = read(&cert_path)?;
    let form = || KeyError::Form(cert_path.clone());
    let der = der_of(&pem).ok_or_else(form)?;
    let (name, not_after) = read_name(&der).ok_or_else(form)?;
    let issuer = if fs::exists(&key_path).unwrap_or(false) {
        let key =
            KeyPair::from_pem(&read(&key_path)?).map_err(|_| KeyError::Form(key_path.clone()))?;
        Some(Issuer::from_ca_cert_pem(&pem, key).map_err(|_| form())?)
    } else {
        None
    };
    Ok(Issuing { number, name, issuer, pem, der, not_after })
}

fn der_of(pem: &str) -> Option<Vec<u8>> {
    ::pem::parse(pem).ok().map(::pem::Pem::into_contents)
}

fn read_name(der: &[u8]) -> Option<(String, Timestamp)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some((name, Timestamp(certificate.validity().not_after.timestamp() * 1000)))
}

/// Tells whether an authority's certificate says that it signs no other authority.
fn ends_at_leaves(pem: &str) -> bool {
    let Some(der) = der_of(pem) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let constraints = certificate.basic_constraints().ok().flatten();
    constraints.is_some_and(|c| c.value.path_len_constraint == Some(0))
}

fn leaf(name: &str, now: Timestamp, not_after: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.not_before = moment(now) - BACKDATED;
    params.not_after = moment(not_after);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

fn self_signed(key: &KeyPair, now: Timestamp) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Adit machines");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = moment(now) - BACKDATED;
    params.not_after = moment(now + days(ROOT_DAYS));
    params.self_signed(key).expect("the parameters are constant").pem()
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Makes a serial number: 127 random bits, positive and of full length (RFC 5280 §4.1.2.2).
fn serial(ids: &dyn Ids) -> [u8; 16] {
    let mut bytes = [0; 16];
    ids.fill(&mut bytes);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    bytes
}

fn days(count: i64) -> std::time::Duration {
    std::time::Duration::from_secs(u64::try_from(count).unwrap_or(0) * 86_400)
}

fn moment(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp(at.unix_timestamp() * 1000)
}

/// Gives what a certificate is found by: SHA-256 of its DER form.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// Reads until when a certificate counts.
pub fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Timestamp(certificate.validity().not_after.timestamp() * 1000))
}

fn machine_uri(id: MachineId) -> String {
    format!("urn:uuid:{id}")
}

fn machine_of(certificate: &X509Certificate<'_>) -> Option<MachineId> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => {
            uri.strip_prefix("urn:uuid:").and_then(|id| id.parse().ok())
        }
        _ => None,
    })
}

#[cfg(test)]
#[path = "pki/tests.rs"]
mod tests;
