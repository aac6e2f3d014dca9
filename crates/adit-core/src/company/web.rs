//! Asks a provider's servers, as `openidconnect` wants to be helped and as GitHub's API is asked.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde_json::Value;

/// How long one answer may take: somebody waits in front of a browser.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The largest answer, in bytes: a discovery document or a page of teams is a few thousand.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why a provider did not answer.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// No connection, or no answer in time.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// Its answer is larger than any that it could mean.
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    /// Its answer is of another form.
    #[error("the answer has another form than documented")]
    Form,
}

/// A client of one provider.
#[derive(Clone, Debug)]
pub struct Web(reqwest::Client);

impl Web {
    /// Makes a client that trusts the system's authorities, or those of a file only.
    ///
    /// # Errors
    /// When the file holds no certificates.
    pub fn new(authorities: Option<&[u8]>) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("adit/", env!("CARGO_PKG_VERSION")))
            // A provider that sends us elsewhere could send our secret elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER_WITHIN);
        if let Some(pem) = authorities {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        builder.build().map(Self)
    }

    /// Fetches JSON with a token; gives the status and the value, which is null where the body is none.
    ///
    /// # Errors
    /// [`WebError`].
    pub async fn fetch(&self, url: &str, token: &str) -> Result<(u16, Value), WebError> {
        let request = self.0.get(url).bearer_auth(token);
        let request = request.header("accept", "application/json");
        let (parts, body) = Self::read(request.send().await?).await?.into_parts();
        Ok((parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Posts a form and reads JSON.
    ///
    /// # Errors
    /// [`WebError`].
    pub async fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Value, WebError> {
        let request = self.0.post(url).header("accept", "application/json").form(form);
        let answer = Self::read(request.send().await?).await?;
        serde_json::from_slice(answer.body()).map_err(|_| WebError::Form)
    }

    async fn read(mut response: reqwest::Response) -> Result<HttpResponse, WebError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(WebError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        let mut answer = HttpResponse::new(body);
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        Ok(answer)
    }

    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, WebError> {
        Self::read(self.0.execute(request.try_into()?).await?).await
    }
}

impl<'c> AsyncHttpClient<'c> for Web {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.answer(request))
    }
}
