//! The files of a certificate: PEM for servers and scripts, PKCS #12 for browsers and Java.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use adit_domain::Secret;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey,
    PrivateKeyChain,
};
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::cli::failure::Failure;

/// Rounds of the password's derivation (RFC 8018), as OWASP asks of PBKDF2 with SHA-256.
const ROUNDS: u32 = 600_000;

/// The longest password that is read, in bytes.
const MAX_PASSWORD: u64 = 4096;

/// The shortest password of a bundle, in characters: a stolen file can be tried at any rate.
const LEAST_PASSWORD: usize = 8;

/// A certificate with its key and its authority.
pub struct Bundle<'a> {
    /// The certificate and what signed it, PEM.
    pub chain: &'a str,
    /// Its key.
    pub key: &'a KeyPair,
    /// The root's certificate, PEM.
    pub ca: &'a str,
    /// Whom it names.
    pub name: &'a str,
}

/// Where a certificate is kept.
pub struct Place {
    dir: PathBuf,
    password: Option<Secret<String>>,
}

impl Place {
    /// Makes the folder, and reads the password of the bundle.
    ///
    /// # Errors
    /// The folder cannot be made, or the password cannot be read or is none.
    pub fn open(dir: &Path, password: Option<&Path>) -> Result<Self, Failure> {
        let password = password.map(read_password).transpose()?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(Failure::file(format!("making the folder {}", dir.display())))?;
        Ok(Self { dir: dir.to_owned(), password })
    }

    /// Writes the files, each readable by its owner alone; gives their paths.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn keep(&self, bundle: &Bundle<'_>) -> Result<Vec<PathBuf>, Failure> {
        let key = Secret::new(bundle.key.serialize_pem());
        let mut files = vec![
            ("key.pem", Secret::new(key.expose().as_bytes().to_vec())),
            ("cert.pem", Secret::new(bundle.chain.as_bytes().to_vec())),
            ("ca.pem", Secret::new(bundle.ca.as_bytes().to_vec())),
        ];
        if let Some(password) = &self.password {
            let made = p12(bundle, password)
                .map_err(|cause| Failure::file("making the bundle")(io::Error::other(cause)))?;
            files.push(("bundle.p12", made));
        }
        let mut written = Vec::new();
        for (name, bytes) in files {
            let path = self.dir.join(name);
            let what = format!("writing {}", path.display());
            write_private(&path, bytes.expose()).map_err(Failure::file(what))?;
            written.push(path);
        }
        Ok(written)
    }
}

fn read_password(path: &Path) -> Result<Secret<String>, Failure> {
    use std::io::Read as _;
    let what = format!("reading the password {}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(Failure::file(what.clone()))?;
    file.take(MAX_PASSWORD).read_to_string(&mut text).map_err(Failure::file(what))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.chars().count() < LEAST_PASSWORD {
        return Err(Failure::Usage(format!(
            "the password in {} is shorter than {LEAST_PASSWORD} characters",
            path.display()
        )));
    }
    Ok(Secret::new(password.to_owned()))
}

/// Makes a PKCS #12 bundle (RFC 7292) with PBES2, AES-256 and HMAC-SHA-256: what current OpenSSL, Node, Java, macOS and Windows read.
fn p12(
    bundle: &Bundle<'_>,
    password: &Secret<String>,
) -> Result<Secret<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
    let pems = [bundle.chain.as_bytes(), bundle.ca.as_bytes()].concat();
    let mut certificates = Vec::new();
    for der in CertificateDer::pem_slice_iter(&pems) {
        certificates.push(Certificate::from_der(&der?)?);
    }
    let key = PrivateKey::from_der(bundle.key.serialized_der())?;
    let id = bundle.name.as_bytes().to_vec();
    let chain = PrivateKeyChain::new(id, key, certificates);
    let mut store = KeyStore::new();
    store.add_entry(bundle.name, KeyStoreEntry::PrivateKeyChain(chain));
    let made = store
        .writer(password.expose())
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ROUNDS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(ROUNDS)
        .write()?;
    Ok(Secret::new(made))
}

/// Replaces a file by one that only its owner may read; a crash leaves the old one or the new one.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    // What an earlier crash left behind is of no use.
    let _ = std::fs::remove_file(&fresh);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}
