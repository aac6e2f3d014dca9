//! The gateway's certificate from a certificate authority that speaks ACME (RFC 8555).
//!
//! The authority asks on port 80 whether the gateway holds its names (http-01, RFC 8555 §8.3); `adit_http::challenge` answers. The
//! account and the certificate with its key are files in the gateway's folder, `acme/account.json` and `acme/certificate.pem`; each new
//! certificate has a new key. When the next one is due is [`crate::tls`]'s affair.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_core::keys::{read_secret, write_private};
use adit_core::listener::{Shown, Source};
use adit_domain::{Secret, Timestamp};
use adit_http::challenge::Answers;
use anyhow::{Context as _, bail};
use base64::Engine as _;
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use crate::config;

/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Where the authority's question is answered, unless the configuration says otherwise.
const LISTEN: &str = "0.0.0.0:80";

/// How long the authority may take to look and to sign.
const WITHIN: Duration = Duration::from_secs(120);

/// How long it may take to see that the names are here.
const LOOKS_WITHIN: Duration = Duration::from_secs(60);

/// What an operator set about ACME, checked.
#[derive(Debug)]
pub struct Acme {
    /// Where the authority's question is answered.
    pub listen: SocketAddr,
    /// What it is answered.
    pub answers: Arc<Answers>,
    directory: String,
    contact: Option<String>,
    names: Vec<String>,
    authorities: Option<PathBuf>,
    external: Option<(String, PathBuf)>,
    folder: PathBuf,
}

/// A certificate with what signed it, and its key.
#[derive(Debug)]
pub struct Got {
    /// The chain, PEM.
    pub chain: String,
    /// The key, PEM.
    pub key: Secret<String>,
}

/// What is kept of the account.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    credentials: AccountCredentials,
}

impl Acme {
    /// Checks the table `[acme]`. Without `names` the certificate is for the host of the gateway's address.
    ///
    /// # Errors
    /// When a value cannot be used; the message has its key.
    pub fn of(config: &config::Acme, dir: &Path, host: Option<&str>) -> anyhow::Result<Self> {
        if config.agree_to_terms != Some(true) {
            bail!(
                "acme.agree_to_terms is not `true`: a certificate authority gives certificates to who agrees to its terms of service"
            );
        }
        let mut names = config.names.clone();
        if names.is_empty() {
            names.extend(host.map(str::to_owned));
        }
        if names.is_empty() {
            bail!("neither `acme.names` nor `url` says what the certificate is for");
        }
        if let Some(name) = names.iter().find(|name| !is_nameable(name)) {
            bail!("acme.names has `{name}`, which is no host name that can be asked for over HTTP");
        }
        let external = match (&config.eab_key_id, &config.eab_key_file) {
            (Some(id), Some(file)) => Some((id.clone(), file.clone())),
            (None, None) => None,
            _ => bail!("acme.eab_key_id and acme.eab_key_file come together or not at all"),
        };
        let listen = config.listen.as_deref().unwrap_or(LISTEN);
        Ok(Self {
            listen: config::listen_address(listen).context("acme.listen")?,
            answers: Arc::default(),
            directory: config.directory.clone().unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
            contact: config.contact.as_ref().map(|address| format!("mailto:{address}")),
            names,
            authorities: config.authorities.clone(),
            external,
            folder: dir.join("acme"),
        })
    }

    /// Gives the names that the certificate is for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Gives the certificate that is kept, if it is for these names and counts now.
    pub fn kept(&self, now: Timestamp) -> Option<Got> {
        let both = fs::read_to_string(self.certificate_path()).ok()?;
        let at = both.find("-----BEGIN PRIVATE KEY-----")?;
        let (chain, key) = both.split_at(at);
        let got = Got { chain: chain.to_owned(), key: Secret::new(key.to_owned()) };
        let shown = self.shown(&got).ok()?;
        (shown.not_before <= now && now < shown.not_after).then_some(got)
    }

    /// Gets a certificate and keeps it.
    ///
    /// # Errors
    /// What the authority said, or what kept it from saying something.
    pub async fn order(&self) -> anyhow::Result<Got> {
        let ordered = tokio::time::timeout(WITHIN, self.order_in_time()).await;
        self.answers.clear();
        let got = ordered.with_context(|| {
            format!("{} did not sign within {} seconds", self.directory, WITHIN.as_secs())
        })??;
        self.shown(&got)?;
        let both = format!("{}\n{}", got.chain.trim_end(), got.key.expose());
        write_private(&self.certificate_path(), both.as_bytes())
            .with_context(|| format!("writing {}", self.certificate_path().display()))?;
        Ok(got)
    }

    async fn order_in_time(&self) -> anyhow::Result<Got> {
        let account = self.account().await?;
        let names: Vec<_> = self.names.iter().map(|name| identifier(name)).collect();
        let order = account.new_order(&NewOrder::new(&names)).await;
        let mut order = order
            .with_context(|| format!("asking for a certificate for {}", self.names.join(", ")))?;
        self.answer(&mut order).await?;
        let patience = RetryPolicy::new().timeout(LOOKS_WITHIN);
        match order.poll_ready(&patience).await {
            Ok(OrderStatus::Ready) => {}
            // An authority that finds nobody may look again and again.
            Ok(_) | Err(instant_acme::Error::Timeout(_)) => bail!(why_not(&mut order).await),
            Err(error) => return Err(error).context("waiting for the authority to look"),
        }
        let key = Secret::new(order.finalize().await.context("sending the request")?);
        let chain = order.poll_certificate(&patience).await.context("fetching the certificate")?;
        Ok(Got { chain, key })
    }

    /// Answers every question of an order that the authority has not had answered before.
    async fn answer(&self, order: &mut Order) -> anyhow::Result<()> {
        let mut questions = order.authorizations();
        while let Some(question) = questions.next().await {
            let mut question = question.context("asking what is to be shown")?;
            match question.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                other => {
                    bail!("the authority has given up on `{}`: {other:?}", question.identifier())
                }
            }
            let name = question.identifier().to_string();
            let Some(mut challenge) = question.challenge(ChallengeType::Http01) else {
                bail!("the authority does not ask about `{name}` over HTTP (http-01)");
            };
            self.answers.add(&challenge.token, challenge.key_authorization().as_str());
            challenge.set_ready().await.with_context(|| format!("answering for `{name}`"))?;
        }
        Ok(())
    }

    /// Gives the account that is kept, or makes one.
    async fn account(&self) -> anyhow::Result<Account> {
        let path = self.folder.join("account.json");
        if path.exists() {
            let text = read_secret(&path)?;
            let kept: Kept = serde_json::from_str(text.expose()).with_context(|| {
                format!("{} is no account; move it away to make another", path.display())
            })?;
            if kept.directory == self.directory {
                let account = self.builder()?.from_credentials(kept.credentials).await;
                return account.with_context(|| format!("reaching {}", self.directory));
            }
        }
        let contact: Vec<&str> = self.contact.as_deref().into_iter().collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = self.external_key()?;
        let made = self.builder()?.create(&wanted, self.directory.clone(), external.as_ref()).await;
        let (account, credentials) =
            made.with_context(|| format!("making an account at {}", self.directory))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .with_context(|| format!("making the folder {}", self.folder.display()))?;
        let kept = Kept { directory: self.directory.clone(), credentials };
        write_private(&path, &serde_json::to_vec(&kept)?)
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(account)
    }

    fn builder(&self) -> anyhow::Result<AccountBuilder> {
        match &self.authorities {
            Some(path) => Account::builder_with_root(path)
                .with_context(|| format!("acme.authorities, {}", path.display())),
            None => Account::builder().context("reading the system's certificate authorities"),
        }
    }

    fn external_key(&self) -> anyhow::Result<Option<ExternalAccountKey>> {
        let Some((id, path)) = &self.external else { return Ok(None) };
        let text = read_secret(path).context("acme.eab_key_file")?;
        let key = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text.expose().trim().trim_end_matches('='))
            .context("acme.eab_key_file does not hold a key in base64url")?;
        Ok(Some(ExternalAccountKey::new(id.clone(), &key)))
    }

    fn certificate_path(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    /// Reads what a listener would show, and that it is for the names that were asked for.
    fn shown(&self, got: &Got) -> anyhow::Result<Shown> {
        let der = CertificateDer::from_pem_slice(got.chain.as_bytes())
            .context("what the authority sent is no certificate")?;
        let shown = Shown::read(Source::Acme, &der).context("the certificate cannot be read")?;
        if let Some(name) = self.names.iter().find(|name| !shown.hosts.contains(name)) {
            bail!("the certificate is not for `{name}`");
        }
        Ok(shown)
    }
}

/// Tells why an order came to nothing: what the authority found when it looked.
async fn why_not(order: &mut Order) -> String {
    let mut questions = order.authorizations();
    while let Some(question) = questions.next().await {
        let Ok(mut question) = question else { continue };
        // What is held is from before the answer.
        if question.refresh().await.is_err() || question.status == AuthorizationStatus::Valid {
            continue;
        }
        let problem = question.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            return format!(
                "the authority could not see that `{}` is here: {problem}",
                question.identifier()
            );
        }
    }
    "the authority did not see that the names are here".to_owned()
}

fn identifier(name: &str) -> Identifier {
    match name.parse::<IpAddr>() {
        Ok(address) => Identifier::Ip(address),
        Err(_) => Identifier::Dns(name.to_owned()),
    }
}

/// Tells whether a name can be asked for: an address, or a host name in lower case without a wildcard, which http-01 cannot show.
fn is_nameable(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &str, host: Option<&str>) -> anyhow::Result<Acme> {
        let config: config::Acme = toml::from_str(table)?;
        Acme::of(&config, Path::new("/nowhere"), host)
    }

    #[test]
    fn what_is_asked_for_is_checked_before_anybody_is_asked() {
        // TIX-71
        let agreed = "agree_to_terms = true\n";
        let acme = read(agreed, Some("adit.example")).unwrap();
        assert_eq!(acme.names(), ["adit.example"]);
        for (table, told) in [
            ("", "acme.agree_to_terms"),
            ("agree_to_terms = true\nnames = [\"*.example.com\"]", "`*.example.com`"),
            ("agree_to_terms = true\nnames = [\"a b\"]", "`a b`"),
            ("agree_to_terms = true\neab_key_id = \"x\"", "acme.eab_key_id and acme.eab_key_file"),
            ("agree_to_terms = true\nlisten = \"example.com:80\"", "acme.listen"),
            ("agree_to_therms = true", "agree_to_therms"),
        ] {
            let refused = read(table, Some("adit.example")).unwrap_err();
            assert!(format!("{refused:#}").contains(told), "{refused:#}");
        }
        assert!(read(agreed, None).is_err());
    }
}
