//! Sign-in with a company's account: an OpenID Connect issuer, or GitHub.
//!
//! A sign-in leaves by [`Gateway::begin_company_sign_in`] and comes back by [`Gateway::finish_company_sign_in`], in the same browser.
//! Who it is, is said by the provider's name and the issuer's subject and by nothing else: an address proves nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_domain::{
    Capability, Code, IdentityId, Principal, PrincipalId, Secret, TeamId, Timestamp, TokenId,
};
use adit_store::{
    CompanyEntry, CompanyOutcome, CompanySignIn, ExternalAccount, GroupTeams, Identity, Linked,
    NewCompanySignIn, NewCookie, Newcomer, Origin, SecretHash, SignInCaps,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor, Draft};
use crate::bus::Change;
use crate::name;
use crate::sign_in::{COOKIE_LIFE, Issued, shown_prefix};
use crate::token::{self, Hash, Plane};

mod follow;
mod github;
pub mod logout;
mod oidc;
mod person;
mod seal;
pub mod settings;
mod told;
mod web;

use github::GitHub;
use oidc::{Oidc, Wish};
use person::{Person, is_subject};
use seal::{Purpose, Sealer};
use settings::{Newcomers, ProviderKind, ProviderSettings, SecondFactor};
use told::Told;
use web::{Web, WebError};

/// How long a browser may be away at the issuer: somebody looks for their second factor meanwhile.
pub const AWAY_LIFE: Duration = Duration::from_secs(600);

/// Sign-ins on their way from one address; a company behind one address begins its day with fewer.
const AWAY_OF_ADDRESS: i64 = 500;

/// Sign-ins on their way in all, so that nobody fills the database with them.
const AWAY: i64 = 20_000;

/// The longest place in the console that a sign-in goes on to, in bytes.
const MAX_BACK: usize = 512;

/// The providers of a gateway.
#[derive(Debug)]
pub struct Company {
    providers: Vec<Arc<Provider>>,
    sealer: Sealer,
}

/// One provider.
#[derive(Debug)]
struct Provider {
    settings: ProviderSettings,
    speaks: Speaks,
}

#[derive(Debug)]
enum Speaks {
    Oidc(Box<Oidc>),
    GitHub(GitHub),
}

impl Provider {
    /// Gives when the issuer saw a second factor, where its word on that counts.
    fn second_factor_of(&self, person: &Person) -> Option<Timestamp> {
        person.second_factor_at.filter(|_| self.settings.second_factor == SecondFactor::Trust)
    }
}

/// Why a provider did not vouch for somebody. The sentences are for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// It does not answer, or not now.
    Unavailable(String),
    /// It says no.
    Refused(String),
    /// What it says, or what came in its name, does not hold.
    Untrue(String),
}

impl Failure {
    fn code(&self) -> Code {
        match self {
            Self::Unavailable(_) => Code::CompanyUnavailable,
            Self::Refused(_) | Self::Untrue(_) => Code::CompanyRefused,
        }
    }

    fn sentence(&self) -> &str {
        match self {
            Self::Unavailable(why) | Self::Refused(why) | Self::Untrue(why) => why,
        }
    }
}

impl From<WebError> for Failure {
    fn from(error: WebError) -> Self {
        Self::Unavailable(told(&error))
    }
}

/// The longest reason that is written down: an issuer's own text may be of any length.
const MAX_REASON: usize = 300;

/// Tells an error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

/// A browser on its way to the issuer.
#[derive(Debug)]
pub struct Departure {
    /// Where it goes.
    pub url: String,
    /// The cookie that shows, when it comes back, that it is the same one.
    pub browser: Secret<String>,
}

/// A browser on its way back.
#[derive(Debug, Default)]
pub struct Return<'a> {
    /// The state that it took along.
    pub state: Option<&'a str>,
    /// The code.
    pub code: Option<&'a str>,
    /// Who sends it (RFC 9207).
    pub iss: Option<&'a str>,
    /// Why there is no code.
    pub error: Option<&'a str>,
    /// The cookie of the way out.
    pub browser: Option<&'a str>,
}

/// What a browser came back to.
#[derive(Debug)]
pub enum Arrival {
    /// Somebody signed in.
    SignedIn {
        /// The console's cookie.
        cookie: Issued,
        /// Where it goes on.
        back: Option<String>,
    },
    /// An account was linked to who was signed in.
    Linked,
    /// An account was not linked to who was signed in.
    NotLinked(Code),
}

/// A provider as a sign-in page shows it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// What its button says.
    pub title: String,
}

impl Company {
    /// Makes the providers of the settings; none is asked anything yet.
    ///
    /// # Errors
    /// A sentence that names the provider whose settings cannot be used.
    pub fn new(providers: &[ProviderSettings], url: &str, key: &[u8; 32]) -> Result<Self, String> {
        let make = |settings: &ProviderSettings| {
            let failed = |why: String| format!("the provider {}: {why}", settings.name);
            let web = Web::new(settings.authorities.as_deref());
            let web = web.map_err(|error| failed(told(&error)))?;
            // BRW-15, BRW-41: the settings alone say where the browser comes back.
            let callback = format!("{url}/auth/company/{}/callback", settings.name);
            let speaks = match &settings.kind {
                ProviderKind::Oidc { issuer } => {
                    Speaks::Oidc(Box::new(Oidc::new(issuer, callback, web).map_err(failed)?))
                }
                ProviderKind::GitHub { site, api } => {
                    Speaks::GitHub(GitHub::new(site, api, callback, web))
                }
            };
            Ok(Arc::new(Provider { settings: settings.clone(), speaks }))
        };
        let providers: Result<Vec<_>, String> = providers.iter().map(make).collect();
        Ok(Self { providers: providers?, sealer: Sealer::new(key) })
    }

    fn find(&self, name: &str) -> Option<Arc<Provider>> {
        let found = self.providers.iter().find(|one| one.settings.name.as_str() == name);
        found.map(Arc::clone)
    }

    /// Lists the providers, as the settings have them.
    pub fn shown(&self) -> Vec<Shown> {
        let show = |one: &Arc<Provider>| Shown {
            name: one.settings.name.to_string(),
            title: one.settings.title.clone(),
        };
        self.providers.iter().map(show).collect()
    }
}

impl Gateway {
    /// Sends a browser to a provider, to sign in, or for who is signed in to link an account.
    ///
    /// # Errors
    /// [`Code::NotFound`] for no provider of that name, [`Code::AuthLimited`] when too many are on their way,
    /// [`Code::CompanyUnavailable`] when the provider does not answer.
    pub async fn begin_company_sign_in(
        &self,
        provider: &str,
        back: Option<&str>,
        link: Option<&Caller>,
        address: Option<IpAddr>,
    ) -> Result<Departure, Refusal> {
        let found = self.company.find(provider).ok_or(Code::NotFound)?;
        let (state, browser) = (
            token::mint(Plane::CompanyState, &*self.ids),
            token::mint(Plane::CompanyBrowser, &*self.ids),
        );
        let (nonce, verifier) = (self.random_text(), self.random_text());
        let now = self.clock.now();
        let wish = Wish { state: state.secret.expose(), nonce: &nonce, verifier: &verifier };
        let url = match &found.speaks {
            Speaks::Oidc(oidc) => oidc.authorize_url(&found.settings, wish, now).await,
            Speaks::GitHub(github) => {
                github.authorize_url(&found.settings, wish.state, wish.verifier)
            }
        };
        let url = match url {
            Ok(url) => url,
            Err(failure) => return Err(self.refuse_company(&found, address, &failure).await),
        };
        let new = NewCompanySignIn {
            state: SecretHash(state.hash.0),
            browser: SecretHash(browser.hash.0),
            provider: provider.to_owned(),
            nonce: SecretHash(Hash::of(&nonce).0),
            verifier: self.company.sealer.seal(Purpose::Verifier, &verifier, &*self.ids),
            link: link.map(|caller| (caller.principal.id, caller.credential)),
            back: back.filter(|back| is_place(back)).map(str::to_owned),
            client: address.filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()),
            at: now,
            expires_at: now + AWAY_LIFE,
        };
        let caps = SignInCaps { client: AWAY_OF_ADDRESS, all: AWAY };
        let refusal = self.company_refusal(&found, address, "too many sign-ins are on their way");
        let tell = move |begun: &bool| match begun {
            true => vec![],
            false => refusal.denied(Code::AuthLimited).only(),
        };
        match self.company_store().begin_company_sign_in(new, caps, tell).await? {
            true => Ok(Departure { url, browser: browser.secret }),
            false => Err(Code::AuthLimited.into()),
        }
    }

    /// Takes a browser that came back from a provider: signs in, or links an account.
    ///
    /// # Errors
    /// [`Code::CompanyExpired`] alike for a state that is wrong, used, too old or another browser's; [`Code::CompanyRefused`] alike for
    /// whatever else does not hold; [`Code::CompanyUnavailable`].
    pub async fn finish_company_sign_in(
        &self,
        provider: &str,
        back: Return<'_>,
        address: Option<IpAddr>,
    ) -> Result<Arrival, Refusal> {
        let found = self.company.find(provider).ok_or(Code::NotFound)?;
        let Some(begun) = self.same_browser(&found, &back).await? else {
            let why = "no sign-in of this browser is on its way with that state";
            let event = self.company_refusal(&found, address, why);
            self.note(event.denied(Code::CompanyExpired)).await;
            return Err(Code::CompanyExpired.into());
        };
        let vouched = self.vouched(&found, &back, &begun).await;
        let person = match vouched {
            Ok(person) => Ok(person),
            Err(failure) => Err(self.refuse_company(&found, address, &failure).await),
        };
        let Some((principal, credential)) = begun.link else {
            let cookie = self.sign_in_person(&found, person?, address).await?;
            return Ok(Arrival::SignedIn { cookie, back: begun.back });
        };
        let linked = match person {
            Ok(person) => self.link_arrived(&found, person, principal, credential, address).await,
            Err(refusal) => Err(refusal),
        };
        Ok(linked.map_or_else(|refusal| Arrival::NotLinked(refusal.code()), |()| Arrival::Linked))
    }

    /// Finds what a browser left with. A state is spent by whoever shows it, in the right browser or not.
    async fn same_browser(
        &self,
        found: &Provider,
        back: &Return<'_>,
    ) -> Result<Option<CompanySignIn>, Refusal> {
        let state = back.state.and_then(|text| token::read(Plane::CompanyState, text).ok());
        let Some(state) = state else { return Ok(None) };
        let browser = back.browser.and_then(|text| token::read(Plane::CompanyBrowser, text).ok());
        let name = found.settings.name.as_str();
        let begun = self
            .company_store()
            .take_company_sign_in(name, SecretHash(state.0), self.clock.now())
            .await?;
        // BRW-26
        Ok(begun.filter(|begun| browser.is_some_and(|hash| SecretHash(hash.0) == begun.browser)))
    }

    /// Asks the provider who it is.
    async fn vouched(
        &self,
        found: &Provider,
        back: &Return<'_>,
        begun: &CompanySignIn,
    ) -> Result<Person, Failure> {
        let now = self.clock.now();
        // BRW-22: before anything else that came is believed, an error too. GitHub names itself to nobody; it has a callback of its own.
        if let Speaks::Oidc(oidc) = &found.speaks {
            oidc.check_issuer(back.iss, now).await?;
        }
        if let Some(error) = back.error {
            let error: String = error.chars().filter(char::is_ascii_graphic).take(64).collect();
            return Err(Failure::Refused(format!("the issuer answers {error}")));
        }
        let code = back.code.ok_or_else(|| Failure::Untrue("no code came back".into()))?;
        let verifier = self.company.sealer.open(Purpose::Verifier, &begun.verifier);
        let verifier =
            verifier.ok_or_else(|| Failure::Untrue("the PKCE verifier does not open".into()))?;
        let person = match &found.speaks {
            Speaks::Oidc(oidc) => {
                let nonce = Hash(begun.nonce.0);
                oidc.exchange(&found.settings, code, &verifier, nonce, now).await?
            }
            Speaks::GitHub(github) => github.exchange(&found.settings, code, &verifier).await?,
        };
        person.check(&found.settings).map_err(|why| Failure::Refused(why.to_owned()))?;
        Ok(person)
    }

    async fn sign_in_person(
        &self,
        found: &Provider,
        person: Person,
        address: Option<IpAddr>,
    ) -> Result<Issued, Refusal> {
        let minted = token::mint(Plane::Cookie, &*self.ids);
        let (id, now) = (TokenId::new(&*self.ids), self.clock.now());
        let cookie = NewCookie {
            id,
            name: "console".to_owned(),
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
            expires_at: now + COOKIE_LIFE,
            origin: Origin {
                method: Some("company".to_owned()),
                address: address.map(|address| address.to_string()),
                agent: None,
                second_factor_at: found.second_factor_of(&person),
            },
        };
        let newcomer = match found.settings.newcomers {
            Newcomers::Refuse => None,
            Newcomers::Make => {
                Some(Newcomer { id: PrincipalId::new(&*self.ids), names: person.names() })
            }
        };
        let entry = CompanyEntry {
            account: self.account_of(found, &person),
            newcomer,
            cookie,
            teams: self.teams_of(found, &person),
        };
        let events = Told::new(self, found, &person, address);
        let tell = move |outcome: &CompanyOutcome| events.of(outcome);
        let outcome = self.company_store().sign_in_with_company(entry, now, tell).await?;
        let tenant = self.company_store().id();
        self.bus.tell(tenant, Change::Audit);
        match outcome {
            CompanyOutcome::Known(..) | CompanyOutcome::Made(..) => {
                self.bus.tell(tenant, Change::Access)
            }
            _ => return Err(Code::CompanyRefused.into()),
        }
        Ok(Issued { id, secret: minted.secret, expires_at: Some(now + COOKIE_LIFE) })
    }

    fn account_of(&self, found: &Provider, person: &Person) -> ExternalAccount {
        let sealer = &self.company.sealer;
        let refresh = person.refresh.as_ref();
        ExternalAccount {
            id: IdentityId::new(&*self.ids),
            provider: found.settings.name.to_string(),
            subject: person.subject.clone(),
            name: person.name.clone(),
            email: person.email.clone(),
            refresh: refresh.map(|one| sealer.seal(Purpose::Refresh, one.expose(), &*self.ids)),
            sid: person.sid.clone(),
        }
    }

    /// Gives the teams that somebody's groups stand for; none where nothing is known of their groups.
    fn teams_of(&self, found: &Provider, person: &Person) -> Option<GroupTeams> {
        let rules = &found.settings.teams;
        let named = person.groups.as_ref()?.iter().filter_map(|group| rules.team_of(group));
        let names: BTreeSet<String> =
            named.filter(|name| name::check("team", name).is_ok()).collect();
        let wanted = names.into_iter().map(|name| (name, TeamId::new(&*self.ids))).collect();
        Some(GroupTeams { wanted, make: rules.make })
    }

    /// Gives an account to whom asked for it, if that sign-in still counts.
    async fn link_arrived(
        &self,
        found: &Provider,
        person: Person,
        to: PrincipalId,
        credential: TokenId,
        address: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        if !self.store.credential_counts(credential, self.clock.now()).await? {
            return Err(Code::AuthEnded.into());
        }
        let owner = self.company_store().find_principal(to).await?.filter(|owner| owner.active);
        let owner = owner.ok_or(Code::PrincipalInactive)?.principal;
        let actor = Actor::principal(&owner, address);
        let account = self.account_of(found, &person);
        self.link_account(&actor, &owner, account).await
    }

    /// Gives an account of a provider to a user, as an administrator says.
    ///
    /// # Errors
    /// [`Code::NotFound`] for no such user or provider, [`Code::Conflict`] for an account that somebody has.
    pub async fn link_identity(
        &self,
        caller: &Caller,
        to: PrincipalId,
        provider: &str,
        subject: &str,
    ) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let owner = self.find_user(caller, to).await?.principal;
        let found = self.company.find(provider).ok_or_else(|| {
            Refusal::Said(Code::NotFound, "There is no such provider in the settings.".into())
        })?;
        if !is_subject(subject) {
            let sentence = "A subject is 1 to 255 characters, as the issuer writes it.";
            return Err(Refusal::Said(Code::RequestInvalid, sentence.into()));
        }
        let person = Person::named(subject);
        self.link_account(&caller.actor(), &owner, self.account_of(&found, &person)).await
    }

    async fn link_account(
        &self,
        by: &Actor,
        to: &Principal,
        account: ExternalAccount,
    ) -> Result<(), Refusal> {
        let sentence = format!(
            "{} of {} signs in as {} from now on",
            account.name,
            account.provider,
            to.name.name()
        );
        let event = self
            .event("identity.link", by, sentence)
            .on(audit::party_of(to))
            .with("provider", json!(account.provider))
            .with("subject", json!(account.subject));
        let tell = move |linked: &Linked| match linked {
            Linked::Linked => event.only(),
            Linked::Already => vec![],
            Linked::Taken | Linked::TooMany => event.denied(Code::Conflict).only(),
        };
        let store = self.store.tenant(to.tenant);
        let linked = store.link_identity(to.id, account, self.clock.now(), tell).await?;
        self.bus.tell(to.tenant, Change::Access);
        match linked {
            Linked::Linked | Linked::Already => Ok(()),
            Linked::Taken => Err(Refusal::Said(
                Code::Conflict,
                "Somebody else signs in with that account.".into(),
            )),
            Linked::TooMany => Err(Refusal::Said(
                Code::Conflict,
                "Take one of the other accounts away first.".into(),
            )),
        }
    }

    /// Takes an account away from its user; the sign-ins that came by it end.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none of that id.
    pub async fn unlink_identity(&self, caller: &Caller, id: IdentityId) -> Result<(), Refusal> {
        let event = self.event("identity.unlink", &caller.actor(), "");
        let tell = move |gone: &Option<Identity>| match gone {
            None => vec![],
            Some(identity) => {
                let who = identity.principal.name.name();
                let sentence = format!(
                    "{} of {} no longer signs in as {who}",
                    identity.name, identity.provider
                );
                event
                    .on(audit::party_of(&identity.principal))
                    .with("provider", json!(identity.provider))
                    .with("subject", json!(identity.subject))
                    .saying(sentence)
                    .only()
            }
        };
        let store = self.store.tenant(caller.principal.tenant);
        let gone = store.unlink_identity(id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        gone.map(drop).ok_or(Refusal::Code(Code::NotFound))
    }

    /// Gives the tenant whose people the settings' providers vouch for.
    fn company_store(&self) -> adit_store::TenantStore {
        self.store.tenant(adit_domain::TenantId::SEED)
    }

    fn random_text(&self) -> String {
        let mut bytes = [0; 32];
        self.ids.fill(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn company_refusal(&self, found: &Provider, address: Option<IpAddr>, why: &str) -> Draft {
        let name = found.settings.name.as_str();
        let sentence = format!("A sign-in by {name} was refused: {why}");
        self.event("sign_in.refused", &Actor::nobody(address), sentence)
            .with("method", json!("company"))
            .with("provider", json!(name))
            .with("reason", json!(why))
    }

    async fn refuse_company(
        &self,
        found: &Provider,
        address: Option<IpAddr>,
        failure: &Failure,
    ) -> Refusal {
        let event = self.company_refusal(found, address, failure.sentence());
        let event = match failure {
            Failure::Unavailable(_) => event.failed(failure.code()),
            _ => event.denied(failure.code()),
        };
        self.note(event).await;
        failure.code().into()
    }
}

/// Tells whether a text is a place in the console: a path of plain characters, and of no other host.
fn is_place(back: &str) -> bool {
    back.len() <= MAX_BACK
        && back.starts_with('/')
        && !back.starts_with("//")
        && back.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_goes_on_in_the_console_only() {
        // BRW-15
        for good in ["/", "/sessions/abc?x=1#y", "/machines"] {
            assert!(is_place(good), "{good}");
        }
        let long = format!("/{}", "a".repeat(MAX_BACK));
        for bad in ["", "//evil", "https://evil", "/\\evil", "/a b", "/a\n", "evil", &long] {
            assert!(!is_place(bad), "{bad}");
        }
    }
}
