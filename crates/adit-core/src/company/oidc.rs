//! OpenID Connect, from the relying party's side: discovery, authorization code with PKCE, ID tokens, refresh.

use std::sync::Arc;
use std::time::Duration;

use adit_domain::{Secret, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGrantType, CoreIdToken, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
    CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType, CoreTokenResponse,
};
use openidconnect::{
    AccessTokenHash, AdditionalProviderMetadata, AuthType, AuthenticationFlow, AuthorizationCode,
    ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    ProviderMetadata, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    SignatureVerificationError, StandardErrorResponse, TokenResponse as _,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::logout::{self, BadLogout, Logout};
use super::person::{Person, is_subject};
use super::settings::ProviderSettings;
use super::web::{Web, WebError};
use super::{Failure, told};
use crate::token::Hash;

/// How long a discovery document and its keys are believed.
const DOCUMENT_LIFE: Duration = Duration::from_secs(3600);

/// How often the document is read anew for a key that is not in it: a forged token must not make us ask each time.
const NEW_KEYS_EVERY: Duration = Duration::from_secs(60);

/// Signatures that count: those by a key that we do not have ourselves.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What the document says beside what the library reads.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct More {
    /// Whether the way back says the issuer (RFC 9207 §3).
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for More {}

type Document = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

type TokenFailure = RequestTokenError<WebError, StandardErrorResponse<CoreErrorResponseType>>;

/// An issuer.
#[derive(Debug)]
pub struct Oidc {
    issuer: IssuerUrl,
    callback: RedirectUrl,
    web: Web,
    /// The document, and when it was read. The lock is held while it is read, so that it is read once.
    document: Mutex<Option<(Arc<Document>, Timestamp)>>,
}

/// What a browser takes to the issuer.
#[derive(Debug)]
pub struct Wish<'a> {
    /// Comes back with the browser.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// Whose hash goes along.
    pub verifier: &'a str,
}

impl Oidc {
    /// Makes one; the issuer is not asked yet.
    ///
    /// # Errors
    /// When an address is none.
    pub fn new(issuer: &str, callback: String, web: Web) -> Result<Self, String> {
        let issuer = IssuerUrl::new(issuer.to_owned()).map_err(|error| error.to_string())?;
        let callback = RedirectUrl::new(callback).map_err(|error| error.to_string())?;
        Ok(Self { issuer, callback, web, document: Mutex::default() })
    }

    /// Gives the address that the browser goes to.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn authorize_url(
        &self,
        settings: &ProviderSettings,
        wish: Wish<'_>,
        now: Timestamp,
    ) -> Result<String, Failure> {
        let document = self.document(now).await?;
        let client = self.client(settings, &document);
        let state = CsrfToken::new(wish.state.to_owned());
        let nonce = Nonce::new(wish.nonce.to_owned());
        let verifier = PkceCodeVerifier::new(wish.verifier.to_owned());
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let scopes = settings.scopes.iter().filter(|scope| *scope != "openid");
        let mut request = client
            .authorize_url(flow, move || state, move || nonce)
            .add_scopes(scopes.cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        for (name, value) in &settings.parameters {
            request = request.add_extra_param(name.clone(), value.clone());
        }
        Ok(request.url().0.into())
    }

    /// Checks who answered (RFC 9207 §2.4): the issuer's name, where the issuer says that it gives it, and never another's.
    ///
    /// # Errors
    /// [`Failure::Untrue`].
    pub async fn check_issuer(&self, iss: Option<&str>, now: Timestamp) -> Result<(), Failure> {
        let document = self.document(now).await?;
        let says = document.additional_metadata().authorization_response_iss_parameter_supported;
        match iss {
            Some(iss) if iss == self.issuer.as_str() => Ok(()),
            None if !says => Ok(()),
            Some(_) => Err(Failure::Untrue("the answer names another issuer".into())),
            None => Err(Failure::Untrue("the answer does not name its issuer".into())),
        }
    }

    /// Trades a code for what the issuer says of somebody.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn exchange(
        &self,
        settings: &ProviderSettings,
        code: &str,
        verifier: &Secret<String>,
        nonce: Hash,
        now: Timestamp,
    ) -> Result<Person, Failure> {
        let document = self.document(now).await?;
        let client = self.client(settings, &document);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| Failure::Untrue(told(&error)))?;
        let verifier = PkceCodeVerifier::new(verifier.expose().clone());
        let response = request.set_pkce_verifier(verifier).request_async(&self.web).await;
        let response = response.map_err(failure)?;
        let token = response.id_token().ok_or_else(|| Failure::Untrue("no ID token".into()))?;
        let is_ours = |found: Option<&Nonce>| match found {
            Some(found) if Hash::of(found.secret()) == nonce => Ok(()),
            _ => Err("the nonce is not the one of this sign-in".to_owned()),
        };
        let claims = self.verify(settings, document, token, &response, is_ours, now).await?;
        self.person(settings, claims, &response, now).await
    }

    /// Asks the issuer again about somebody.
    ///
    /// # Errors
    /// [`Failure::Refused`] when it knows nothing of them any more.
    pub async fn refresh(
        &self,
        settings: &ProviderSettings,
        subject: &str,
        refresh: &Secret<String>,
        now: Timestamp,
    ) -> Result<Person, Failure> {
        let document = self.document(now).await?;
        let client = self.client(settings, &document);
        let old = RefreshToken::new(refresh.expose().clone());
        let request =
            client.exchange_refresh_token(&old).map_err(|error| Failure::Untrue(told(&error)))?;
        let response = request.request_async(&self.web).await.map_err(failure)?;
        let claims = match response.id_token() {
            // A refreshed ID token has the nonce of the first or none (OpenID Connect Core §12.2).
            Some(token) => {
                self.verify(settings, document, token, &response, |_: Option<&Nonce>| Ok(()), now)
                    .await?
            }
            None if document.userinfo_endpoint().is_none() => {
                let mut person = Person::named(subject);
                person.refresh = turned(&response);
                return Ok(person);
            }
            None => Map::from_iter([("sub".to_owned(), Value::from(subject))]),
        };
        if claims.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(Failure::Untrue("the issuer answered about somebody else".into()));
        }
        self.person(settings, claims, &response, now).await
    }

    /// Checks a logout token.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn check_logout(
        &self,
        settings: &ProviderSettings,
        token: &str,
        now: Timestamp,
    ) -> Result<Logout, Failure> {
        let check = |document: &Document| {
            let keys = serde_json::to_value(document.jwks()).and_then(serde_json::from_value);
            let keys = keys.map_err(|_| BadLogout::Key)?;
            logout::check(token, &keys, self.issuer.as_str(), &settings.client_id, now)
        };
        let mut checked = check(&*self.document(now).await?);
        if checked == Err(BadLogout::Key) && self.forget_keys(now).await {
            checked = check(&*self.document(now).await?);
        }
        checked.map_err(|error| Failure::Untrue(error.to_string()))
    }

    async fn document(&self, now: Timestamp) -> Result<Arc<Document>, Failure> {
        let mut known = self.document.lock().await;
        if let Some((document, at)) = &*known
            && now.since(*at) < DOCUMENT_LIFE
        {
            return Ok(Arc::clone(document));
        }
        let read = Document::discover_async(self.issuer.clone(), &self.web).await;
        let document = Arc::new(read.map_err(|error| Failure::Unavailable(told(&error)))?);
        self.check_document(&document)?;
        *known = Some((Arc::clone(&document), now));
        Ok(document)
    }

    /// Checks that an issuer by TLS does not send secrets and codes elsewhere without it.
    fn check_document(&self, document: &Document) -> Result<(), Failure> {
        let places = [
            Some(document.authorization_endpoint().url()),
            document.token_endpoint().map(|url| url.url()),
            document.userinfo_endpoint().map(|url| url.url()),
            Some(document.jwks_uri().url()),
        ];
        let by_tls = self.issuer.url().scheme() == "https";
        if by_tls && places.into_iter().flatten().any(|place| place.scheme() != "https") {
            let sentence = "the issuer's document names an address without TLS";
            return Err(Failure::Untrue(sentence.into()));
        }
        Ok(())
    }

    /// Forgets the document if it is old enough to lack a new key; tells whether it did.
    async fn forget_keys(&self, now: Timestamp) -> bool {
        let mut known = self.document.lock().await;
        let old = known.as_ref().is_some_and(|(_, at)| now.since(*at) >= NEW_KEYS_EVERY);
        if old {
            *known = None;
        }
        old
    }

    fn client(&self, settings: &ProviderSettings, document: &Document) -> Client {
        let secret = settings.client_secret.as_ref();
        let secret = secret.map(|secret| ClientSecret::new(secret.expose().clone()));
        let id = ClientId::new(settings.client_id.clone());
        let basic = document
            .token_endpoint_auth_methods_supported()
            .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let kind = if basic { AuthType::BasicAuth } else { AuthType::RequestBody };
        CoreClient::from_provider_metadata(document.clone(), id, secret)
            .set_redirect_uri(self.callback.clone())
            .set_auth_type(kind)
    }

    /// Checks an ID token (OpenID Connect Core §3.1.3.7) and gives all its claims.
    async fn verify<N>(
        &self,
        settings: &ProviderSettings,
        document: Arc<Document>,
        token: &CoreIdToken,
        response: &CoreTokenResponse,
        nonce: N,
        now: Timestamp,
    ) -> Result<Map<String, Value>, Failure>
    where
        N: Fn(Option<&Nonce>) -> Result<(), String>,
    {
        let mut checked = self.check_token(settings, &document, token, response, &nonce);
        if matches!(&checked, Err(Unverified::Key)) && self.forget_keys(now).await {
            let document = self.document(now).await?;
            checked = self.check_token(settings, &document, token, response, &nonce);
        }
        checked.map_err(|error| match error {
            Unverified::Key => Failure::Untrue("the ID token has a key that is not there".into()),
            Unverified::Otherwise(why) => Failure::Untrue(why),
        })?;
        payload(token).ok_or_else(|| Failure::Untrue("the ID token cannot be read".into()))
    }

    fn check_token<N>(
        &self,
        settings: &ProviderSettings,
        document: &Document,
        token: &CoreIdToken,
        response: &CoreTokenResponse,
        nonce: &N,
    ) -> Result<(), Unverified>
    where
        N: Fn(Option<&Nonce>) -> Result<(), String>,
    {
        let client = self.client(settings, document);
        let named = document.id_token_signing_alg_values_supported();
        let algorithms = ALGORITHMS.into_iter().filter(|one| named.contains(one));
        let verifier = client.id_token_verifier().set_allowed_algs(algorithms);
        let claims = token.claims(&verifier, |found: Option<&Nonce>| nonce(found))?;
        let Some(expected) = claims.access_token_hash() else { return Ok(()) };
        let (algorithm, key) = (token.signing_alg(), token.signing_key(&verifier));
        let (Ok(algorithm), Ok(key)) = (algorithm, key) else { return Err(Unverified::Key) };
        match AccessTokenHash::from_token(response.access_token(), algorithm, key) {
            Ok(found) if found == *expected => Ok(()),
            _ => Err(Unverified::Otherwise("the ID token is of another access token".into())),
        }
    }

    /// Makes somebody of the claims, and of the user-info endpoint where the claims leave things out.
    async fn person(
        &self,
        settings: &ProviderSettings,
        mut claims: Map<String, Value>,
        response: &CoreTokenResponse,
        now: Timestamp,
    ) -> Result<Person, Failure> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !is_subject(&subject) {
            return Err(Failure::Untrue("the ID token has no subject that can be kept".into()));
        }
        let wanted = [settings.groups_claim.as_str(), "preferred_username", "email"];
        let document = self.document(now).await?;
        if wanted.iter().any(|name| !claims.contains_key(*name))
            && let Some(place) = document.userinfo_endpoint()
        {
            let token = response.access_token().secret();
            let (status, more) = self.web.fetch(place.as_str(), token).await?;
            add_user_info(&mut claims, status, more, &subject)?;
        }
        let mut person = Person::of_claims(subject, &claims, &settings.groups_claim);
        person.refresh = turned(response);
        Ok(person)
    }
}

/// Gives the refresh token of an answer; none where the old one goes on.
fn turned(response: &CoreTokenResponse) -> Option<Secret<String>> {
    response.refresh_token().map(|token| Secret::new(token.secret().clone()))
}

/// Why an ID token was not believed.
enum Unverified {
    /// Its key is not among those that we know.
    Key,
    /// For another reason.
    Otherwise(String),
}

impl From<ClaimsVerificationError> for Unverified {
    fn from(error: ClaimsVerificationError) -> Self {
        match error {
            ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            ) => Self::Key,
            other => Self::Otherwise(told(&other)),
        }
    }
}

/// Adds what the user-info endpoint says, about the same subject only (OpenID Connect Core §5.3.2).
fn add_user_info(
    claims: &mut Map<String, Value>,
    status: u16,
    more: Value,
    subject: &str,
) -> Result<(), Failure> {
    match (status, more) {
        (200, Value::Object(more)) if more.get("sub").and_then(Value::as_str) == Some(subject) => {
            // Whether an address is verified is said together with it.
            let has_email = claims.contains_key("email");
            let fits = |name: &String| !(has_email && name == "email_verified");
            for (name, value) in more.into_iter().filter(|(name, _)| fits(name)) {
                claims.entry(name).or_insert(value);
            }
            Ok(())
        }
        (200, _) => Err(Failure::Untrue("the user-info endpoint tells of somebody else".into())),
        (401 | 403, _) => Err(Failure::Refused("the user-info endpoint refuses".into())),
        (status, _) => {
            Err(Failure::Unavailable(format!("the user-info endpoint answers {status}")))
        }
    }
}

/// Reads all claims of a token that was checked.
fn payload(token: &CoreIdToken) -> Option<Map<String, Value>> {
    let text = token.to_string();
    let part = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&part).ok()
}

fn failure(error: TokenFailure) -> Failure {
    match &error {
        RequestTokenError::ServerResponse(answer) => {
            let said = format!("the issuer answers {}", answer.error().as_ref());
            match answer.error() {
                CoreErrorResponseType::InvalidGrant => Failure::Refused(said),
                _ => Failure::Unavailable(said),
            }
        }
        // The body of an answer that cannot be read may hold tokens, so that it is not told.
        RequestTokenError::Parse(..) => Failure::Untrue("the token answer cannot be read".into()),
        _ => Failure::Unavailable(told(&error)),
    }
}
