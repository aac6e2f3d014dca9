//! A client asks a user (RFC 6749 §4.1, RFC 7636, RFC 9207): what it wants is checked twice, when it is shown and when it is answered.

use std::time::Duration;

use adit_domain::{Capabilities, Code, PrincipalKind, TokenId};
use adit_store::{NewCode, SecretHash, Service};
use serde_json::json;

use super::client::Client;
use super::fault::{Fault, Reason};
use super::redirect;
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit;
use crate::bus::Change;
use crate::token::{self, Plane};

/// How long a code counts: a browser follows a redirect at once (RFC 6749 §4.1.2 allows ten minutes).
const CODE_LIFE: Duration = Duration::from_secs(60);

/// The longest `state` that is sent back, in bytes.
const MAX_STATE: usize = 1024;

/// What a client asks for, as it came.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// How it wants to be answered: `code`.
    pub response_type: Option<String>,
    /// Who asks.
    pub client_id: Option<String>,
    /// Where the user is to be sent back to.
    pub redirect_uri: Option<String>,
    /// For what.
    pub scope: Option<String>,
    /// What the client recognises its request by.
    pub state: Option<String>,
    /// The hash of what only the client knows.
    pub code_challenge: Option<String>,
    /// How it was hashed: `S256`.
    pub code_challenge_method: Option<String>,
}

/// A request that a user can answer.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who asks.
    pub service: Service,
    /// For what.
    pub scopes: Capabilities,
    /// Where the user will be sent back to.
    pub redirect_uri: String,
    state: Option<String>,
    challenge: String,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Asked {
    /// The user is asked.
    Question(Box<Question>),
    /// The user is told, here: whoever made the address may not have anybody sent anywhere.
    Told(&'static str),
    /// The client is told, at its address.
    Sent(String),
}

/// What a user answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

impl Gateway {
    /// Looks at what a client asks for.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub async fn look_at_wish(&self, wish: &Wish) -> Result<Asked, Refusal> {
        let id = wish.client_id.as_deref().unwrap_or_default();
        let service = match self.find_oauth_client(id).await {
            Ok(Client::Service(service)) => service,
            Err(fault) if fault.reason == Reason::TemporarilyUnavailable => {
                return Err(Code::StoreUnavailable.into());
            }
            _ => return Ok(Asked::Told("This request names no client that is known here.")),
        };
        let uri = wish.redirect_uri.clone().unwrap_or_default();
        if !redirect::is_registered(&uri, &service.redirect_uris, service.kind) {
            let told =
                "This request would send you to an address that its client did not register.";
            return Ok(Asked::Told(told));
        }
        Ok(match self.question(wish, *service, uri.clone()) {
            Ok(question) => Asked::Question(Box::new(question)),
            Err(fault) => Asked::Sent(self.error_address(&uri, wish.state.as_deref(), &fault)),
        })
    }

    // BRW-16
    fn question(&self, wish: &Wish, service: Service, uri: String) -> Result<Question, Fault> {
        let client = Client::Service(Box::new(service.clone()));
        if wish.state.as_ref().is_some_and(|state| !is_plain_state(state)) {
            return Err(Fault::request("The state is longer than 1,024 printable characters."));
        }
        match wish.response_type.as_deref() {
            Some("code") => {}
            None => return Err(Fault::request("The request does not name its response_type.")),
            Some(_) => {
                let sentence = "There is no such response_type; ask for a code.";
                return Err(Fault::new(Reason::UnsupportedResponseType, sentence));
            }
        }
        if wish.code_challenge_method.as_deref() != Some("S256") {
            return Err(Fault::request("A code_challenge of the method S256 is needed."));
        }
        let challenge = wish.code_challenge.clone().unwrap_or_default();
        if !is_challenge(&challenge) {
            return Err(Fault::request("The code_challenge is not a SHA-256 in base64url."));
        }
        let scopes = client.wanted(wish.scope.as_deref())?;
        Ok(Question { service, scopes, redirect_uri: uri, state: wish.state.clone(), challenge })
    }

    /// Answers a client for a user, and gives the address that the user's browser goes to.
    ///
    /// # Errors
    /// [`Refusal`] for a caller who is no user with a whole sign-in, and for a request that a user cannot answer.
    pub async fn answer_wish(
        &self,
        caller: &Caller,
        wish: &Wish,
        answer: Answer,
    ) -> Result<String, Refusal> {
        may_answer(caller)?;
        let question = match self.look_at_wish(wish).await? {
            Asked::Question(question) => *question,
            Asked::Sent(address) => return Ok(address),
            Asked::Told(told) => return Err(Refusal::Said(Code::RequestInvalid, told.into())),
        };
        if question.service.principal.tenant != caller.principal.tenant {
            let told = "This request names no client that is known here.";
            return Err(Refusal::Said(Code::RequestInvalid, told.into()));
        }
        match answer {
            Answer::Approve => self.issue_code(caller, question).await,
            Answer::Deny => {
                let name = caller.principal.name.name();
                let sentence = format!("{name} let {} have nothing", question.name());
                let event = self
                    .event("authorization.deny", &caller.actor(), sentence)
                    .on(audit::party_of(&question.service.principal));
                self.note(event).await;
                let fault = Fault::new(Reason::AccessDenied, "The user said no.");
                Ok(self.error_address(&question.redirect_uri, question.state.as_deref(), &fault))
            }
        }
    }

    async fn issue_code(&self, caller: &Caller, question: Question) -> Result<String, Refusal> {
        let minted = token::mint(Plane::AuthCode, &*self.ids);
        let at = self.clock.now();
        let sentence =
            format!("{} let {} act for them", caller.principal.name.name(), question.name());
        let event = self
            .event("authorization.approve", &caller.actor(), sentence)
            .on(audit::party_of(&question.service.principal))
            .with("scopes", json!(question.scopes.names()))
            .only();
        let new = NewCode {
            id: TokenId::new(&*self.ids),
            hash: SecretHash(minted.hash.0),
            client: question.service.principal.id,
            principal: caller.principal.id,
            scopes: question.scopes,
            redirect_uri: question.redirect_uri.clone(),
            challenge: Some(question.challenge),
            expires_at: at + CODE_LIFE,
            at,
        };
        let tenant = self.store.tenant(caller.principal.tenant);
        tenant.issue_auth_code(new, move |()| event).await?;
        self.bus.tell(caller.principal.tenant, Change::Audit);
        let mut fields = vec![("code", minted.secret.expose().as_str())];
        fields.extend(question.state.as_deref().map(|state| ("state", state)));
        fields.push(("iss", self.settings.issuer()));
        Ok(with_query(&question.redirect_uri, &fields))
    }

    /// RFC 9207: the answer says whose it is, so that a client of two servers cannot mix them up.
    fn error_address(&self, uri: &str, state: Option<&str>, fault: &Fault) -> String {
        let mut fields =
            vec![("error", fault.reason.as_str()), ("error_description", fault.sentence.as_str())];
        fields.extend(state.filter(|state| is_plain_state(state)).map(|state| ("state", state)));
        fields.push(("iss", self.settings.issuer()));
        with_query(uri, &fields)
    }
}

impl Question {
    fn name(&self) -> &str {
        self.service.principal.name.name()
    }
}

/// Checks that a caller is a person with a whole sign-in: a token with scopes must not get itself another.
pub(super) fn may_answer(caller: &Caller) -> Result<(), Refusal> {
    caller.unlimited()?;
    if caller.principal.name.kind() != PrincipalKind::User {
        let sentence = "Only a person can let a client or a device act for them.";
        return Err(Refusal::Said(Code::AccessCapabilityMissing, sentence.into()));
    }
    Ok(())
}

fn is_plain_state(state: &str) -> bool {
    state.len() <= MAX_STATE && state.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Adds fields to an address's query, each form-encoded.
fn with_query(uri: &str, fields: &[(&str, &str)]) -> String {
    let mut address = uri.to_owned();
    let mut before = if uri.contains('?') { '&' } else { '?' };
    for (name, value) in fields {
        address.push(before);
        address.push_str(name);
        address.push('=');
        encode(value, &mut address);
        before = '&';
    }
    address
}

fn encode(text: &str, to: &mut String) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            to.push(char::from(byte));
        } else {
            write!(to, "%{byte:02X}").expect("a String takes all text");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_to_an_address_stays_in_its_query() {
        let fields = [("code", "a-b_c"), ("state", "x&y=z#/?\r\n é")];
        assert_eq!(
            with_query("https://app.example/cb?x=1", &fields),
            "https://app.example/cb?x=1&code=a-b_c&state=x%26y%3Dz%23%2F%3F%0D%0A%20%C3%A9"
        );
        assert_eq!(with_query("https://a/", &[("error", "e")]), "https://a/?error=e");
    }

    #[test]
    fn a_challenge_is_a_whole_hash() {
        assert!(is_challenge(&"a".repeat(43)));
        for bad in ["", &"a".repeat(42), &"a".repeat(44), &format!("{}=", "a".repeat(42))] {
            assert!(!is_challenge(bad), "{bad}");
        }
    }
}
