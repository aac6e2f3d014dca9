//! GitHub's OAuth 2, which is no OpenID Connect: who somebody is, is asked of its API.
//!
//! Groups are organisations (`acme`) and their teams (`acme/platform`).

use adit_domain::Secret;
use serde_json::Value;

use super::Failure;
use super::person::Person;
use super::settings::ProviderSettings;
use super::web::Web;

/// How many entries a page of a list holds; GitHub gives no more.
const PAGE: usize = 100;

/// How many pages of a list are read: more teams than anybody has.
const MAX_PAGES: usize = 10;

/// GitHub, or a server of one's own.
#[derive(Debug)]
pub struct GitHub {
    site: String,
    api: String,
    callback: String,
    web: Web,
}

impl GitHub {
    /// Makes one; nothing is asked yet.
    pub fn new(site: &str, api: &str, callback: String, web: Web) -> Self {
        Self { site: site.to_owned(), api: api.to_owned(), callback, web }
    }

    /// Gives the address that the browser goes to.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the site's address is none.
    pub fn authorize_url(
        &self,
        settings: &ProviderSettings,
        state: &str,
        verifier: &str,
    ) -> Result<String, Failure> {
        let verifier = openidconnect::PkceCodeVerifier::new(verifier.to_owned());
        let challenge = openidconnect::PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let place = format!("{}/login/oauth/authorize", self.site);
        let mut url = reqwest::Url::parse(&place)
            .map_err(|_| Failure::Unavailable("the site's address is none".into()))?;
        url.query_pairs_mut()
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", &self.callback)
            .append_pair("scope", &settings.scopes.join(" "))
            .append_pair("state", state)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(&settings.parameters);
        Ok(url.into())
    }

    /// Trades a code for what GitHub says of somebody.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn exchange(
        &self,
        settings: &ProviderSettings,
        code: &str,
        verifier: &Secret<String>,
    ) -> Result<Person, Failure> {
        let secret = settings.client_secret.as_ref().map(|secret| secret.expose().as_str());
        let form = [
            ("client_id", settings.client_id.as_str()),
            ("client_secret", secret.unwrap_or_default()),
            ("code", code),
            ("redirect_uri", &self.callback),
            ("code_verifier", verifier.expose()),
        ];
        let answer =
            self.web.post(&format!("{}/login/oauth/access_token", self.site), &form).await?;
        // GitHub answers 200 to a code that is wrong as well.
        if let Some(error) = answer["error"].as_str() {
            let error: String = error.chars().filter(char::is_ascii_graphic).take(64).collect();
            return Err(Failure::Refused(format!("GitHub answers {error}")));
        }
        match answer["access_token"].as_str() {
            Some(token) => self.person(Secret::new(token.to_owned())).await,
            None => Err(Failure::Untrue("GitHub's answer has no token".into())),
        }
    }

    /// Asks who a token belongs to.
    ///
    /// # Errors
    /// [`Failure::Refused`] when GitHub does not know the token, or no longer.
    pub async fn person(&self, token: Secret<String>) -> Result<Person, Failure> {
        let user = self.get("/user", &token).await?;
        let id = user["id"].as_u64().filter(|id| *id > 0);
        let id = id.ok_or_else(|| Failure::Untrue("GitHub's answer names nobody".into()))?;
        let emails = self.list("/user/emails", &token).await?;
        let main = |one: &&Value| one["primary"] == true && one["verified"] == true;
        let email = emails.iter().find(main).and_then(|one| one["email"].as_str());
        let claims = serde_json::json!({
            "preferred_username": user["login"],
            "email": email,
            "email_verified": email.is_some(),
            "groups": self.groups(&token).await?,
        });
        let claims = claims.as_object().cloned().unwrap_or_default();
        // The number stays when the login changes hands.
        let mut person = Person::of_claims(id.to_string(), &claims, "groups");
        person.refresh = Some(token);
        Ok(person)
    }

    async fn groups(&self, token: &Secret<String>) -> Result<Vec<String>, Failure> {
        let orgs = self.list("/user/orgs", token).await?;
        let mut groups: Vec<String> =
            orgs.iter().filter_map(|one| one["login"].as_str()).map(str::to_owned).collect();
        for team in self.list("/user/teams", token).await? {
            let of = (team["organization"]["login"].as_str(), team["slug"].as_str());
            if let (Some(org), Some(slug)) = of {
                groups.push(format!("{org}/{slug}"));
            }
        }
        Ok(groups)
    }

    async fn list(&self, path: &str, token: &Secret<String>) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let found = self.get(&format!("{path}?per_page={PAGE}&page={page}"), token).await?;
            let Value::Array(items) = found else {
                return Err(Failure::Untrue("GitHub's answer is no list".into()));
            };
            let last = items.len() < PAGE;
            all.extend(items);
            if last {
                break;
            }
        }
        Ok(all)
    }

    async fn get(&self, path: &str, token: &Secret<String>) -> Result<Value, Failure> {
        let (status, value) =
            self.web.fetch(&format!("{}{path}", self.api), token.expose()).await?;
        match status {
            200 => Ok(value),
            401 => Err(Failure::Refused("GitHub no longer knows the token".into())),
            403 | 404 => {
                Err(Failure::Untrue(format!("GitHub answers {status}; the scopes may not suffice")))
            }
            other => Err(Failure::Unavailable(format!("GitHub answers {other}"))),
        }
    }
}
