//! A machine's certificate and key, and the authority that it trusts: from PEM files or from a PKCS #12 bundle (RFC 7292).

use std::path::Path;

use adit_domain::CertificateName;
use adit_domain::reach::peer_label;
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use pem::Pem;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::TicketError;

/// Who a machine is, and whom it trusts.
pub struct Identity {
    /// The certificate and what signed it, in DER.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub(crate) key: PrivateKeyDer<'static>,
    /// The authority's certificates.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    name: CertificateName,
    pem_bundle: Zeroizing<String>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.name)
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            authorities: self.authorities.clone(),
            name: self.name.clone(),
            pem_bundle: self.pem_bundle.clone(),
        }
    }
}

impl Identity {
    /// Reads `cert.pem`, `key.pem` and `ca.pem`, as `adit cert issue` writes them.
    ///
    /// # Errors
    /// [`TicketError::Identity`] with the file and what is wrong with it.
    pub fn from_pem_files(
        certificate: &Path,
        key: &Path,
        authority: &Path,
    ) -> Result<Self, TicketError> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map(Zeroizing::new)
                .map_err(|error| bad(format!("{}: {error}", path.display())))
        };
        Self::from_pem(&read(certificate)?, &read(key)?, &read(authority)?)
    }

    /// Reads a certificate, a key and an authority from PEM.
    ///
    /// # Errors
    /// [`TicketError::Identity`].
    pub fn from_pem(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, TicketError> {
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| bad("the key is no private key in PEM".to_owned()))?;
        Self::new(certificates(certificate)?, key, certificates(authority)?)
    }

    /// Reads a bundle with its password. What in it signs itself is the authority.
    ///
    /// # Errors
    /// [`TicketError::Identity`] for another password or a bundle without a key.
    pub fn from_p12(bundle: &[u8], password: &str) -> Result<Self, TicketError> {
        let store =
            KeyStore::from_pkcs12(bundle, password, Pkcs12ImportPolicy::Strict).map_err(|_| {
                bad("the bundle cannot be read: the password is wrong, or it is no PKCS #12"
                    .to_owned())
            })?;
        let (_, entry) =
            store.private_key_chain().ok_or_else(|| bad("the bundle holds no key".to_owned()))?;
        let key = PrivateKeyDer::try_from(entry.key().as_der().to_vec())
            .map_err(|_| bad("the bundle's key is of a kind that cannot be used".to_owned()))?;
        let all = entry.certs().iter().map(|one| CertificateDer::from(one.as_der().to_vec()));
        let (authorities, chain) = all.partition(signs_itself);
        Self::new(chain, key, authorities)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, TicketError> {
        let leaf = chain.first().ok_or_else(|| bad("there is no certificate".to_owned()))?;
        if authorities.is_empty() {
            return Err(bad("there is no certificate of the gateway's authority".to_owned()));
        }
        let name = name_of(leaf)
            .ok_or_else(|| bad("the certificate is not one of a gateway's".to_owned()))?;
        let mut pems: Vec<Pem> =
            chain.iter().map(|der| Pem::new("CERTIFICATE", der.as_ref())).collect();
        pems.push(Pem::new(kind_of(&key), key.secret_der()));
        let pem_bundle = Zeroizing::new(pem::encode_many(&pems));
        Ok(Self { chain, key, authorities, name, pem_bundle })
    }

    /// Tells whom the certificate names.
    pub fn name(&self) -> &CertificateName {
        &self.name
    }

    /// Gives the label by which tickets name it.
    pub fn label(&self) -> String {
        peer_label(&self.name)
    }

    /// Tells whether it is the same certificate.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.chain.first() == other.chain.first()
    }

    /// Makes an HTTP client that shows the certificate and trusts the authority alone.
    pub(crate) fn http(&self) -> Result<reqwest::Client, TicketError> {
        let identity = reqwest::Identity::from_pem(self.pem_bundle.as_bytes());
        let authorities = self.authorities.iter().map(|der| reqwest::Certificate::from_der(der));
        Ok(reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            // A stream's reader may pause for as long as it likes.
            .tcp_user_timeout(None)
            .identity(identity.map_err(|error| bad(error.to_string()))?)
            .tls_certs_only(authorities.collect::<Result<Vec<_>, _>>()?)
            .connect_timeout(std::time::Duration::from_secs(10))
            .build()?)
    }
}

/// Reads whom a certificate names.
pub(crate) fn name_of(certificate: &CertificateDer<'_>) -> Option<CertificateName> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.parse().ok()?;
    names.next().is_none().then_some(name)
}

fn signs_itself(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, one)| one.subject() == one.issuer())
}

fn kind_of(key: &PrivateKeyDer<'_>) -> &'static str {
    match key {
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        _ => "PRIVATE KEY",
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TicketError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| bad("the certificate is not one in PEM".to_owned()))
}

fn bad(why: String) -> TicketError {
    TicketError::Identity(why)
}
