//! Second factors: authenticator apps (TOTP, RFC 6238) and recovery codes.

use std::time::{Duration, Instant};

use adit_domain::{Code, Ids, Principal, PrincipalKind, Secret, Timestamp};
use adit_store::{Factors, Proof, SecretHash, StepKind};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Deserialize;
use serde_json::json;
use totp_rs::{Algorithm, Builder, Totp};

use super::attempts::Subject;
use super::{Arrival, Entered, Visitor, Wanted};
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit;
use crate::bus::Change;
use crate::token::{self, Hash, Plane};

/// How long a second factor that was shown lets its owner change what signs in.
pub const PROOF_LIFE: Duration = Duration::from_secs(600);

/// Codes that a step takes before the password is asked for again.
const STEP_TRIES: u32 = 5;

/// Recovery codes that a user gets.
const RECOVERY_CODES: usize = 10;

/// Random characters of a recovery code, five bits each: eighty bits, so that its hash tells nothing.
const RECOVERY_CHARS: usize = 16;

/// The alphabet of recovery codes (RFC 4648 §6, in lower case).
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// An authenticator that waits for its first code.
#[derive(Debug)]
pub struct Enrolment {
    /// The secret, as apps take it by hand.
    pub secret: Secret<String>,
    /// The same in an address, as the picture has it.
    pub uri: Secret<String>,
    /// The picture, SVG.
    pub picture: Secret<String>,
}

/// What a step of a sign-in remembers.
#[derive(Deserialize)]
struct StepState {
    wanted: Wanted,
}

impl Gateway {
    /// Begins an authenticator of the caller; it counts from its first code on.
    ///
    /// # Errors
    /// [`Code::Conflict`] when there is one that counts.
    pub async fn begin_authenticator(&self, caller: &Caller) -> Result<Enrolment, Refusal> {
        self.own_account(caller)?;
        let who = &caller.principal;
        let tenant = self.store.tenant(who.tenant);
        let mut bytes = [0; 20];
        self.ids.fill(&mut bytes);
        let totp = totp(&bytes, who.name.name())?;
        let sealed = self.sign_ins.sealer.seal(&bytes, who.id.as_bytes(), &*self.ids);
        let factors = tenant.load_factors(who.id).await?;
        if factors.second() && !factors.authenticator {
            self.proven(caller, factors)?;
        }
        if !tenant.begin_authenticator(who.id, sealed, self.clock.now()).await? {
            let sentence = "You have an authenticator. Remove it first, then add the new one.";
            return Err(Refusal::Said(Code::Conflict, sentence.into()));
        }
        let internal = |_| Refusal::Code(Code::Internal);
        let uri = Secret::new(totp.to_url().map_err(internal)?);
        let picture = QrCode::new(uri.expose()).map_err(|_| Refusal::Code(Code::Internal))?;
        let picture = picture.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
        let secret = Secret::new(totp.secret().to_base32());
        Ok(Enrolment { secret, uri, picture: Secret::new(picture) })
    }

    /// Takes the first code of an authenticator; gives recovery codes, once.
    ///
    /// # Errors
    /// [`Code::ProofRefused`] for a wrong code, [`Code::NotFound`] when none waits for one.
    pub async fn confirm_authenticator(
        &self,
        caller: &Caller,
        code: &str,
    ) -> Result<Vec<Secret<String>>, Refusal> {
        self.own_account(caller)?;
        let who = &caller.principal;
        let tenant = self.store.tenant(who.tenant);
        let found = tenant.find_authenticator(who.id).await?;
        let found = found.filter(|found| found.confirmed_at.is_none());
        let found = found.ok_or(Refusal::Code(Code::NotFound))?;
        let subjects = self.begin_proof(who, caller).await?;
        let Some(step) = self.time_step(who, &found.sealed, code) else {
            return Err(self.refuse_proof(caller).await);
        };
        self.sign_ins.attempts.succeeded(&subjects, Instant::now());
        let codes = recovery_codes(&*self.ids);
        let hashes = codes.iter().map(|code| recovery_hash(who, code.expose())).collect();
        let sentence = format!("{} added an authenticator", who.name.name());
        let event = self.event("second_factor.add", &caller.actor(), sentence);
        let event = event.on(audit::party_of(who)).with("method", json!("authenticator"));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let at = self.clock.now();
        let done =
            tenant.confirm_authenticator(who.id, caller.credential, step, hashes, at, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Audit);
        if done { Ok(codes) } else { Err(Code::NotFound.into()) }
    }

    /// Takes the caller's authenticator and recovery codes away.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none, [`Code::AccessSecondFactor`] when it was not shown lately.
    pub async fn remove_authenticator(&self, caller: &Caller) -> Result<(), Refusal> {
        self.own_account(caller)?;
        let who = &caller.principal;
        let tenant = self.store.tenant(who.tenant);
        let factors = tenant.load_factors(who.id).await?;
        if !factors.authenticator {
            return Err(Code::NotFound.into());
        }
        self.proven(caller, factors)?;
        self.take_authenticator(caller, who).await
    }

    pub(super) async fn take_authenticator(
        &self,
        caller: &Caller,
        who: &Principal,
    ) -> Result<(), Refusal> {
        let sentence = format!("The authenticator of {} was removed", who.name.name());
        let event = self.event("second_factor.remove", &caller.actor(), sentence);
        let event = event.on(audit::party_of(who)).with("method", json!("authenticator"));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        self.store.tenant(who.tenant).remove_authenticator(who.id, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Audit);
        Ok(())
    }

    /// Gives new recovery codes; all that there were open nothing any more.
    ///
    /// # Errors
    /// [`Code::NotFound`] without an authenticator, [`Code::AccessSecondFactor`] when it was not shown lately.
    pub async fn new_recovery_codes(
        &self,
        caller: &Caller,
    ) -> Result<Vec<Secret<String>>, Refusal> {
        self.own_account(caller)?;
        let who = &caller.principal;
        let tenant = self.store.tenant(who.tenant);
        let factors = tenant.load_factors(who.id).await?;
        if !factors.authenticator {
            return Err(Code::NotFound.into());
        }
        self.proven(caller, factors)?;
        let codes = recovery_codes(&*self.ids);
        let hashes = codes.iter().map(|code| recovery_hash(who, code.expose())).collect();
        let sentence = format!("{} got new recovery codes", who.name.name());
        let event = self.event("second_factor.recovery_codes", &caller.actor(), sentence);
        let event = event.on(audit::party_of(who));
        let tell = move |(): &()| event.only();
        tenant.replace_recovery_codes(who.id, hashes, self.clock.now(), tell).await?;
        Ok(codes)
    }

    /// Goes on with a sign-in: a code of the authenticator, or a recovery code.
    ///
    /// # Errors
    /// [`Code::StepRefused`] when the step is over, [`Code::ProofRefused`] for a code that is wrong or was used.
    // BRW-49: whose code it must be is the step's own knowledge.
    pub async fn sign_in_with_code(
        &self,
        step: &str,
        code: &str,
        visitor: &Visitor,
    ) -> Result<Entered, Refusal> {
        let over = || Refusal::Code(Code::StepRefused);
        let hash = SecretHash(token::read(Plane::Step, step).map_err(|_| over())?.0);
        let now = self.clock.now();
        let found = self.store.try_step(StepKind::SecondFactor, hash, now, STEP_TRIES).await?;
        let found = found.ok_or_else(over)?;
        let state: StepState =
            serde_json::from_str(&found.state).map_err(|_| Refusal::Code(Code::Internal))?;
        let account = match found.principal {
            Some(id) => self.store.tenant(found.tenant).find_principal(id).await?,
            None => None,
        };
        let principal = account.filter(|a| a.active).ok_or_else(over)?.principal;
        let caller = unproven(&principal, visitor);
        let subjects = self.begin_proof(&principal, &caller).await?;
        let Some(proof) = self.read_code(&principal, code).await? else {
            return Err(self.refuse_proof(&caller).await);
        };
        let arrival = Arrival {
            principal,
            wanted: state.wanted,
            method: "password",
            second_factor: true,
            step: Some(hash),
            proof,
            password: None,
        };
        let entered = self.enter(arrival, visitor).await?;
        let entered = entered.ok_or(Refusal::Code(Code::ProofRefused))?;
        self.sign_ins.attempts.succeeded(&subjects, Instant::now());
        Ok(entered)
    }

    /// Notes that the caller showed a second factor now, with the credential that it called with.
    ///
    /// # Errors
    /// [`Code::ProofRefused`] for a code that is wrong or was used.
    pub async fn step_up(&self, caller: &Caller, code: &str) -> Result<(), Refusal> {
        let who = &caller.principal;
        let subjects = self.begin_proof(who, caller).await?;
        let Some(proof) = self.read_code(who, code).await? else {
            return Err(self.refuse_proof(caller).await);
        };
        self.note_proof(caller, None, proof, "code").await?;
        self.sign_ins.attempts.succeeded(&subjects, Instant::now());
        Ok(())
    }

    pub(super) async fn note_proof(
        &self,
        caller: &Caller,
        step: Option<SecretHash>,
        proof: Proof,
        method: &str,
    ) -> Result<(), Refusal> {
        let who = &caller.principal;
        let event = |name: &str, sentence: String| {
            self.event(name, &caller.actor(), sentence)
                .on(audit::party_of(who))
                .with("method", json!(method))
        };
        let shown = event("step_up", format!("{} showed a second factor", who.name.name()));
        let refused = event("step_up.refused", format!("{} showed a used code", who.name.name()))
            .denied(Code::ProofRefused);
        let tell = move |done: &bool| if *done { shown.only() } else { refused.only() };
        let (tenant, at) = (self.store.tenant(who.tenant), self.clock.now());
        let done = tenant.step_up(caller.credential, who.id, step, proof, at, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Audit);
        if done { Ok(()) } else { Err(Code::ProofRefused.into()) }
    }

    /// Refuses to change what signs in, unless a second factor was shown lately by whoever has one.
    pub(super) fn proven(&self, caller: &Caller, factors: Factors) -> Result<(), Refusal> {
        let now = self.clock.now();
        let fresh = caller.second_factor_at.is_some_and(|at| now.since(at) < PROOF_LIFE);
        if fresh || !factors.second() { Ok(()) } else { Err(Code::AccessSecondFactor.into()) }
    }

    /// Refuses callers whose own sign-in is not theirs to change: what is no user, and credentials that open less than everything.
    pub(super) fn own_account(&self, caller: &Caller) -> Result<(), Refusal> {
        let is_user = caller.principal.name.kind() == PrincipalKind::User;
        if is_user && caller.limit.is_none() {
            return Ok(());
        }
        Err(Code::AccessScopeMissing.into())
    }

    /// Counts a try to prove something.
    async fn begin_proof(&self, who: &Principal, caller: &Caller) -> Result<[Subject; 2], Refusal> {
        let account = format!("second factor/{}", who.id);
        let subjects = [Subject::pair(&account, caller.address), Subject::Account(account)];
        let visitor = Visitor { address: caller.address, agent: None };
        self.begin_try(&subjects, &visitor).await?;
        Ok(subjects)
    }

    async fn refuse_proof(&self, caller: &Caller) -> Refusal {
        let sentence = format!("{} showed a wrong code", caller.principal.name.name());
        let event = self.event("second_factor.refused", &caller.actor(), sentence);
        let event = event.on(audit::party_of(&caller.principal)).denied(Code::ProofRefused);
        self.note(event).await;
        Code::ProofRefused.into()
    }

    /// Reads a code: of the authenticator, or a recovery code. Whether it was used before shows when it is spent.
    async fn read_code(&self, who: &Principal, code: &str) -> Result<Option<Proof>, Refusal> {
        let code: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        let is_recovery = code.len() == RECOVERY_CHARS;
        let found = self.store.tenant(who.tenant).find_authenticator(who.id).await?;
        let Some(found) = found.filter(|found| found.confirmed_at.is_some()) else {
            return Ok(None);
        };
        if is_recovery {
            return Ok(Some(Proof::Recovery(recovery_hash(who, &code.to_lowercase()))));
        }
        Ok(self.time_step(who, &found.sealed, &code).map(Proof::Authenticator))
    }

    /// Gives the time step that a code belongs to: this one, or one beside it (RFC 6238 §5.2).
    fn time_step(&self, who: &Principal, sealed: &[u8], code: &str) -> Option<i64> {
        let Some(bytes) = self.sign_ins.sealer.open(sealed, who.id.as_bytes()) else {
            tracing::error!(user = %who.name, "an authenticator's secret cannot be opened; was SESSION_TOKEN_SECRET changed?");
            return None;
        };
        let totp = totp(&bytes, who.name.name()).ok()?;
        let step = totp.check(code.trim(), seconds(self.clock.now()))?;
        i64::try_from(step).ok()
    }
}

/// Makes somebody a caller who has shown nothing yet, for events and limits.
pub(super) fn unproven(principal: &Principal, visitor: &Visitor) -> Caller {
    Caller {
        principal: principal.clone(),
        credential: adit_domain::TokenId(principal.id.0),
        address: visitor.address,
        second_factor_at: None,
        limit: None,
        client: None,
    }
}

fn seconds(at: Timestamp) -> u64 {
    at.wire() / 1000
}

fn totp(secret: &[u8], name: &str) -> Result<Totp, Refusal> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(30)
        .with_secret(secret.to_vec())
        .with_account_name(name.to_owned())
        .with_issuer(Some("Adit"))
        .build()
        .map_err(|_| Refusal::Code(Code::Internal))
}

fn recovery_codes(ids: &dyn Ids) -> Vec<Secret<String>> {
    let one = || {
        let mut random = [0; RECOVERY_CHARS];
        ids.fill(&mut random);
        let chars = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        Secret::new(chars.collect::<String>())
    };
    (0..RECOVERY_CODES).map(|_| one()).collect()
}

fn recovery_hash(who: &Principal, code: &str) -> SecretHash {
    SecretHash(Hash::of(&format!("{}/{code}", who.id)).0)
}

/// Writes a recovery code in groups of four, as people read it.
pub fn grouped(code: &str) -> String {
    let chars: Vec<char> = code.chars().collect();
    let groups = chars.chunks(4).map(|group| group.iter().collect::<String>());
    groups.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemIds;

    // DESK-6
    #[test]
    fn recovery_codes_are_ten_and_all_different() {
        let codes = recovery_codes(&SystemIds);
        let mut texts: Vec<&String> = codes.iter().map(Secret::expose).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 10);
        assert!(texts.iter().all(|text| text.len() == 16));
        assert_eq!(grouped("abcdefghijklmnop"), "abcd-efgh-ijkl-mnop");
    }

    // DESK-6
    #[test]
    fn a_code_belongs_to_its_time_step_and_the_two_beside_it() {
        let totp = totp(b"12345678901234567890", "ann").unwrap();
        // RFC 6238, appendix B, the last six of eight digits.
        assert_eq!(totp.check("287082", 59), Some(1));
        assert_eq!(totp.check("287082", 89), Some(1));
        assert_eq!(totp.check("287082", 90), None);
        assert_eq!(totp.check("287083", 59), None);
    }
}
