//! Secrets that open doors: 256 random bits behind a prefix that names their plane, kept as SHA-256 only.
//!
//! Each plane has its own type, so that no function can be handed another plane's credential.

use adit_domain::{Code, Ids, Secret, SupportCode};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A kind of credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plane {
    /// Users' and services' API tokens.
    Api,
    /// Console sign-in links.
    SignIn,
    /// The console's cookie.
    Cookie,
    /// Tickets.
    Ticket,
    /// Enrolment of machines.
    Enrol,
    /// Machines.
    Machine,
    /// Secrets of OAuth2 clients.
    ClientSecret,
    /// Refresh tokens.
    Refresh,
    /// Authorization codes.
    AuthCode,
    /// Device codes.
    Device,
    /// A browser's way to a company's issuer and back.
    CompanyState,
    /// The cookie of a browser that is on that way.
    CompanyBrowser,
    /// The next step of a sign-in that has begun.
    Step,
    /// The first administrator.
    Setup,
    /// Invitations of users.
    Invitation,
}

impl Plane {
    const ALL: [Self; 15] = [
        Self::Api,
        Self::SignIn,
        Self::Cookie,
        Self::Ticket,
        Self::Enrol,
        Self::Machine,
        Self::ClientSecret,
        Self::Refresh,
        Self::AuthCode,
        Self::Device,
        Self::CompanyState,
        Self::CompanyBrowser,
        Self::Step,
        Self::Setup,
        Self::Invitation,
    ];

    /// Gives the prefix that its secrets begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Api => "adt_",
            Self::SignIn => "ads_",
            Self::Cookie => "adc_",
            Self::Ticket => "atk_",
            Self::Enrol => "aet_",
            Self::Machine => "cak_",
            Self::ClientSecret => "acs_",
            Self::Refresh => "arf_",
            Self::AuthCode => "aac_",
            Self::Device => "adv_",
            Self::CompanyState => "aco_",
            Self::CompanyBrowser => "acb_",
            Self::Step => "asp_",
            Self::Setup => "asu_",
            Self::Invitation => "ain_",
        }
    }
}

/// A secret that was just made: shown once, then only its hash is kept.
#[derive(Debug)]
pub struct Minted {
    /// What its bearer presents.
    pub secret: Secret<String>,
    /// What is kept.
    pub hash: Hash,
}

/// SHA-256 of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(…)")
    }
}

impl Hash {
    /// Hashes a secret as it was presented.
    pub fn of(secret: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, secret.as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }
}

/// What every access token of the OAuth2 server begins with: a JSON object in base64url. They have no prefix, because others read them.
pub const ACCESS_TOKEN: &str = "eyJ";

/// The random characters after a prefix: 32 bytes in base64url without padding.
const RANDOM_CHARS: usize = 43;

/// Makes a new secret for a plane.
pub fn mint(plane: Plane, ids: &dyn Ids) -> Minted {
    let mut random = [0; 32];
    ids.fill(&mut random);
    let secret = format!("{}{}", plane.prefix(), URL_SAFE_NO_PAD.encode(random));
    let hash = Hash::of(&secret);
    Minted { secret: Secret::new(secret), hash }
}

/// Checks that a presented text can be a secret of a plane, and hashes it.
///
/// # Errors
/// [`Code::PlaneWrong`] for a credential of another plane, [`Code::AuthRequired`] for anything else.
pub fn read(plane: Plane, presented: &str) -> Result<Hash, Code> {
    let well_formed = |p: Plane| {
        presented.strip_prefix(p.prefix()).is_some_and(|rest| {
            rest.len() == RANDOM_CHARS
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
    };
    if well_formed(plane) {
        return Ok(Hash::of(presented));
    }
    // DESK-2: a support code has no prefix, because people type it; its form gives it away.
    let other = Plane::ALL.into_iter().any(|p| presented.starts_with(p.prefix()))
        || presented.starts_with(ACCESS_TOKEN)
        || presented.parse::<SupportCode>().is_ok();
    Err(if other { Code::PlaneWrong } else { Code::AuthRequired })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemIds;

    #[test]
    fn a_secret_opens_only_its_own_plane() {
        // AGT-01, BEY-16
        for made in Plane::ALL {
            let minted = mint(made, &SystemIds);
            for asked in Plane::ALL {
                let read = read(asked, minted.secret.expose());
                assert_eq!(read.is_ok(), made == asked, "{made:?} on {asked:?}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_before_it_is_hashed() {
        let huge = format!("adt_{}", "a".repeat(1 << 20));
        for bad in ["", "adt_", "adt_short", "Bearer x", huge.as_str()] {
            assert!(read(Plane::Api, bad).is_err());
        }
    }
}
