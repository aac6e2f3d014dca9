//! The gateway's own certificate authority: for its machine listener and for machines.
//!
//! The authority is a file in the gateway's folder. Names in a certificate are the gateway's choice alone: of a request only the public
//! key is used (RFC 2986), so it cannot ask for another machine's name, for a CA or for another use.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use adit_domain::{Clock, Code, MachineId, Secret};
use adit_store::Machine;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKey, SanType,
};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::access::Refusal;
use crate::keys::{KeyError, load_or_make};

/// How long a machine's certificate lasts. Short-lived ones come with the identity work; until then it is as long as the CA's.
const MACHINE_DAYS: i64 = 825;

/// How long the CA lasts.
const CA_DAYS: i64 = 3650;

/// How long the listener's certificate lasts; it is made anew at each start.
const LISTENER_DAYS: i64 = 90;

/// A certificate and what it chains to, in PEM (RFC 7468).
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// The authority's.
    pub ca_pem: String,
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
pub struct Request(PublicKey);

impl Request {
    /// Reads a PKCS #10 request in PEM.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] for anything but a signed request with an ECDSA or Ed25519 key.
    pub fn read(pem: &str) -> Result<Self, Refusal> {
        let bad = |why: &str| {
            Refusal::Said(
                Code::RequestInvalid,
                format!("The certificate request cannot be used: {why}."),
            )
        };
        let request = CertificateSigningRequestParams::from_pem(pem)
            .map_err(|_| bad("it is not a signed PKCS #10 request in PEM"))?;
        let algorithm = format!("{:?}", request.public_key);
        if algorithm.contains("RSA") {
            return Err(bad("RSA keys are not taken; use Ed25519 or ECDSA P-256"));
        }
        Ok(Self(request.public_key))
    }
}

/// The authority.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    now: OffsetDateTime,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pki(…)")
    }
}

impl Pki {
    /// Reads the authority of a folder, making it at the first start.
    ///
    /// # Errors
    /// [`KeyError`] when a file cannot be read or does not hold what it should.
    pub fn load(dir: &Path, clock: &dyn Clock) -> Result<Self, KeyError> {
        let now = OffsetDateTime::from_unix_timestamp(clock.now().seconds())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let key_path = dir.join("ca.key");
        let key = load_or_make(&key_path, || {
            KeyPair::generate()
                .expect("the system has a random source")
                .serialize_pem()
                .into_bytes()
        })?;
        let form = |path: &Path| KeyError::Form(PathBuf::from(path));
        let text = String::from_utf8(key).map_err(|_| form(&key_path))?;
        let read = || KeyPair::from_pem(&text).map_err(|_| form(&key_path));
        let (key, signing) = (read()?, read()?);
        let cert_path = dir.join("ca.pem");
        let cert = load_or_make(&cert_path, || self_signed(&key, now).into_bytes())?;
        let ca_pem = String::from_utf8(cert).map_err(|_| form(&cert_path))?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, signing).map_err(|_| form(&cert_path))?;
        Ok(Self { issuer, ca_pem, now })
    }

    /// Gives the authority's certificate in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Certifies a machine: CN `agent:LABEL`, its id as a URI, for client authentication only.
    ///
    /// # Errors
    /// [`Code::Internal`] when the certificate cannot be made.
    pub fn certify_machine(
        &self,
        request: &Request,
        machine: &Machine,
    ) -> Result<Certificate, Refusal> {
        let mut params = self.leaf(&format!("agent:{}", machine.label), MACHINE_DAYS);
        let uri = machine_uri(machine.id).try_into().map_err(|_| Refusal::Code(Code::Internal))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made = params
            .signed_by(&request.0, &self.issuer)
            .map_err(|_| Refusal::Code(Code::Internal))?;
        Ok(Certificate { pem: made.pem(), ca_pem: self.ca_pem.clone() })
    }

    /// Makes a certificate for the machine listener.
    ///
    /// # Errors
    /// [`Code::Internal`] when it cannot be made.
    pub fn certify_listener(&self, hosts: &[String]) -> Result<Listener, Refusal> {
        let internal = || Refusal::Code(Code::Internal);
        let key = KeyPair::generate().map_err(|_| internal())?;
        let mut params = self.leaf("adit gateway", LISTENER_DAYS);
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into().map_err(|_| internal())?),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let made = params.signed_by(&key, &self.issuer).map_err(|_| internal())?;
        let chain_pem = format!("{}{}", made.pem(), self.ca_pem);
        Ok(Listener { chain_pem, key_pem: Secret::new(key.serialize_pem()) })
    }

    fn leaf(&self, name: &str, days: i64) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.not_before = self.now - Duration::days(1);
        params.not_after = self.now + Duration::days(days);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params
    }
}

fn self_signed(key: &KeyPair, now: OffsetDateTime) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Adit machines");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(CA_DAYS);
    params.self_signed(key).expect("the parameters are constant").pem()
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn machine_uri(id: MachineId) -> String {
    format!("urn:uuid:{id}")
}

/// Reads which machine a certificate is for. The TLS layer has checked the chain, the times and the use.
pub fn machine_of(der: &[u8]) -> Option<MachineId> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
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
