//! Argon2id (RFC 9106), as many at once as the machine bears: the rest waits in a line with an end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_domain::{Code, Ids, Password};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use metrics::counter;
use tokio::sync::Semaphore;

use crate::access::Refusal;
use crate::places::Places;
use crate::settings::{PasswordCost, Settings};

/// Passwords that one address may have checked or waiting at once, so that it does not fill the line for all.
const WAITING_PER_ADDRESS: usize = 16;

/// Passwords that wait in all; at 50 ms each the last of them waits a few seconds.
const WAITING: usize = 64;

/// When to come back where the line is full.
const COME_BACK: Duration = Duration::from_secs(2);

/// Hashes and checks passwords.
pub struct Hasher {
    argon2: Argon2<'static>,
    params: Params,
    /// What is checked for a user who is not there, so that it takes as long.
    nobody: String,
    seats: Arc<Semaphore>,
    line: Arc<Semaphore>,
    of_address: Arc<Places<IpAddr>>,
}

/// What came of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checked {
    /// It is another password, or nobody's.
    Wrong,
    /// It is right.
    Right,
    /// It is right, and its hash was made with other parameters than today's.
    Outdated,
}

impl Hasher {
    /// Makes a hasher of the settings, which hold parameters that Argon2 takes.
    pub fn new(settings: &Settings, ids: &dyn Ids) -> Result<Self, Refusal> {
        let PasswordCost { memory_kib, passes, lanes } = settings.password_cost;
        let params = Params::new(memory_kib, passes, lanes, None);
        let params = params.map_err(|_| Refusal::Code(Code::Internal))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let mut random = [0; 32];
        ids.fill(&mut random);
        let nobody = hash_with(&argon2, &random)?;
        let seats = Arc::new(Semaphore::new(settings.passwords_at_once.max(1)));
        let line = Arc::new(Semaphore::new(WAITING));
        Ok(Self { argon2, params, nobody, seats, line, of_address: Arc::default() })
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// [`Code::Busy`] when too many wait.
    pub async fn hash(&self, password: Password, from: Option<IpAddr>) -> Result<String, Refusal> {
        let argon2 = self.argon2.clone();
        self.work(from, move || hash_with(&argon2, password.expose().as_bytes())).await?
    }

    /// Checks a password against a hash, or against nobody's.
    ///
    /// # Errors
    /// [`Code::Busy`] when too many wait.
    // BRW-44
    pub async fn check(
        &self,
        password: Password,
        hash: Option<String>,
        from: Option<IpAddr>,
    ) -> Result<Checked, Refusal> {
        let (argon2, params) = (self.argon2.clone(), self.params.clone());
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        self.work(from, move || {
            let parsed = PasswordHash::new(&hash).map_err(|_| Refusal::Code(Code::Internal))?;
            let right = argon2.verify_password(password.expose().as_bytes(), &parsed).is_ok();
            let current = Params::try_from(&parsed).is_ok_and(|used| {
                (used.m_cost(), used.t_cost(), used.p_cost())
                    == (params.m_cost(), params.t_cost(), params.p_cost())
            });
            Ok(match (known && right, current) {
                (false, _) => Checked::Wrong,
                (true, true) => Checked::Right,
                (true, false) => Checked::Outdated,
            })
        })
        .await?
    }

    /// Runs on a thread of its own once there is a seat. Whoever asked may go away; the seat is kept until the work is done.
    // RES-14
    async fn work<T, W>(&self, from: Option<IpAddr>, work: W) -> Result<T, Refusal>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let busy = || {
            counter!("adit_passwords_refused_total").increment(1);
            Refusal::Later(Code::Busy, COME_BACK)
        };
        let place = match from {
            Some(address) => {
                Some(self.of_address.take(address, WAITING_PER_ADDRESS).ok_or_else(busy)?)
            }
            None => None,
        };
        let waits = Arc::clone(&self.line).try_acquire_owned().map_err(|_| busy())?;
        let seat = Arc::clone(&self.seats).acquire_owned().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, waits, seat);
            counter!("adit_passwords_checked_total").increment(1);
            work()
        });
        done.await.map_err(|_| Refusal::Code(Code::Internal))
    }
}

fn hash_with(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, Refusal> {
    let hash: PasswordHash =
        argon2.hash_password(password).map_err(|_| Refusal::Code(Code::Internal))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use adit_domain::Secret;

    use super::*;
    use crate::random::SystemIds;

    fn hasher(memory_kib: u32) -> Hasher {
        let mut settings = Settings::new("/nowhere");
        settings.password_cost = PasswordCost { memory_kib, passes: 1, lanes: 1 };
        Hasher::new(&settings, &SystemIds).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::presented(Secret::new(text.to_owned())).unwrap()
    }

    // DESK-6
    #[tokio::test]
    async fn a_hash_of_other_parameters_is_right_and_outdated() {
        let (before, now) = (hasher(64), hasher(128));
        let hash = before.hash(password("a long way home"), None).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        let check = async |hasher: &Hasher, text: &str| {
            hasher.check(password(text), Some(hash.clone()), None).await.unwrap()
        };
        assert_eq!(check(&before, "a long way home").await, Checked::Right);
        assert_eq!(check(&now, "a long way home").await, Checked::Outdated);
        assert_eq!(check(&now, "a long way hope").await, Checked::Wrong);
    }

    // BRW-44
    #[tokio::test]
    async fn nobodys_password_is_never_right() {
        let hasher = hasher(64);
        let checked = hasher.check(password("a long way home"), None, None).await.unwrap();
        assert_eq!(checked, Checked::Wrong);
    }

    // RES-14
    #[tokio::test]
    async fn one_address_has_sixteen_in_the_line_and_another_still_gets_in() {
        let hasher = Arc::new(hasher(64));
        let away: IpAddr = [192, 0, 2, 7].into();
        let _seat = Arc::clone(&hasher.seats)
            .acquire_many_owned(u32::try_from(hasher.seats.available_permits()).unwrap())
            .await
            .unwrap();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let hasher = Arc::clone(&hasher);
                tokio::spawn(async move { hasher.check(password("x"), None, Some(away)).await })
            })
            .collect();
        let mut refused = 0;
        for one in waiting.into_iter().rev().take(4) {
            refused += usize::from(one.await.unwrap().is_err());
        }
        assert_eq!(refused, 4);
        drop(_seat);
        assert!(hasher.check(password("x"), None, Some([192, 0, 2, 8].into())).await.is_ok());
    }
}
