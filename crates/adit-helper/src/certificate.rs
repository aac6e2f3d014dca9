//! A certificate as a caller sent it, checked: it can be read, is valid now, and the key is its own.

use adit_domain::{Secret, Timestamp};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The longest chain; public ones have two to four.
const MAX_CHAIN: usize = 10;

/// Why a certificate is not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// There is none, or something else.
    #[error(
        "the chain holds no certificate that can be read; send PEM, the certificate itself first"
    )]
    Unreadable,
    /// There are too many.
    #[error(
        "the chain has more than {MAX_CHAIN} certificates; send the certificate and its issuers only"
    )]
    Long,
    /// A certificate is not signed by the next one.
    #[error("the chain is out of order: each certificate is to be followed by its issuer's")]
    Order,
    /// It has ended or not begun.
    #[error("the certificate is not valid now; renew it, or look at this machine's clock")]
    Time,
    /// There is no key, or something else.
    #[error("the key cannot be read; send one key as PEM, without a password")]
    Key,
    /// The key is another's.
    #[error("the key does not belong to the certificate; send the two that were made together")]
    Mismatch,
}

/// A certificate with its key, both as they are written: certificates and a key, and no word beside.
#[derive(Debug)]
pub struct Checked {
    /// The chain, PEM.
    pub chain: String,
    /// The key, PEM.
    pub key: Secret<String>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// When it ends.
    pub ends_at: Timestamp,
}

impl Checked {
    /// Checks a chain and its key.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn of(chain: &str, key: &Secret<String>, now: Timestamp) -> Result<Self, BadCertificate> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.map_err(|_| BadCertificate::Unreadable)?;
        if chain.len() > MAX_CHAIN {
            return Err(BadCertificate::Long);
        }
        let ends_at = ends_at(&chain, now)?;
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
            .map_err(|_| BadCertificate::Key)?;
        let key_pem = key_pem(&key);
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|_| BadCertificate::Key)?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|_| BadCertificate::Mismatch)?;
        let leaf = certified.end_entity_cert().map_err(|_| BadCertificate::Unreadable)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
        Ok(Self {
            chain: chain_pem(&certified),
            key: key_pem,
            fingerprint: hex::encode(digest),
            ends_at,
        })
    }
}

/// Holds the chain's order and the certificate's time, and gives its end.
fn ends_at(chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Timestamp, BadCertificate> {
    let parsed: Result<Vec<_>, _> =
        chain.iter().map(|der| X509Certificate::from_der(der)).collect();
    let parsed = parsed.map_err(|_| BadCertificate::Unreadable)?;
    if parsed.iter().any(|(rest, _)| !rest.is_empty()) {
        return Err(BadCertificate::Unreadable);
    }
    let (_, leaf) = parsed.first().ok_or(BadCertificate::Unreadable)?;
    let in_order = parsed
        .windows(2)
        .all(|pair| matches!(pair, [(_, one), (_, next)] if one.issuer() == next.subject()));
    if !in_order {
        return Err(BadCertificate::Order);
    }
    let valid = leaf.validity();
    let (begins, ends) = (valid.not_before.timestamp(), valid.not_after.timestamp());
    if now.seconds() < begins || now.seconds() > ends {
        return Err(BadCertificate::Time);
    }
    Ok(Timestamp(ends.saturating_mul(1000)))
}

fn chain_pem(certified: &CertifiedKey) -> String {
    let encode =
        |der: &CertificateDer<'_>| pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()));
    certified.cert.iter().map(encode).collect()
}

fn key_pem(key: &PrivateKeyDer<'_>) -> Secret<String> {
    let tag = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Secret::new(pem::encode(&pem::Pem::new(tag, key.secret_der().to_vec())))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_344_720_123);

    fn pem(key: &KeyPair) -> Secret<String> {
        Secret::new(key.serialize_pem())
    }

    fn check(chain: &str, key: &KeyPair) -> Result<Checked, BadCertificate> {
        Checked::of(chain, &pem(key), NOW)
    }

    fn own() -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key)
    }

    #[test]
    fn a_certificate_and_its_key_are_taken_without_what_stands_beside() {
        let (chain, key) = own();
        let sent = format!("ssl_engine evil;\n{chain}\n# and more\n");
        let checked = check(&sent, &key).unwrap();
        assert_eq!(checked.chain.replace("\r\n", "\n").trim(), chain.trim());
        assert!(checked.key.expose().starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(checked.fingerprint.len(), 64);
    }

    #[test]
    fn a_key_that_is_anothers_is_refused() {
        // TIX-72
        let (chain, _) = own();
        assert_eq!(check(&chain, &own().1).unwrap_err(), BadCertificate::Mismatch);
    }

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused() {
        let (chain, key) = own();
        for bad in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(check(bad, &key).unwrap_err(), BadCertificate::Unreadable, "{bad}");
        }
        for bad in ["", "x", chain.as_str()] {
            let refused = Checked::of(&chain, &Secret::new(bad.to_owned()), NOW).unwrap_err();
            assert_eq!(refused, BadCertificate::Key, "{bad}");
        }
        let long = chain.repeat(MAX_CHAIN + 1);
        assert_eq!(check(&long, &key).unwrap_err(), BadCertificate::Long);
    }

    #[test]
    fn a_certificate_of_another_time_is_refused() {
        let (chain, key) = own();
        let before = Timestamp(0);
        assert_eq!(Checked::of(&chain, &pem(&key), before).unwrap_err(), BadCertificate::Time);
    }

    #[test]
    fn a_chain_in_another_order_is_refused() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "issuer");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap().pem();
        assert!(check(&format!("{leaf}{}", issuer.pem()), &key).is_ok());
        let (other, _) = own();
        assert_eq!(check(&format!("{leaf}{other}"), &key).unwrap_err(), BadCertificate::Order);
    }
}
