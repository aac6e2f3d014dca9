//! The server that carries the bus: the one place that knows the library for it.

use std::time::Duration;

use adit_domain::Secret;
use bytes::Bytes;
use futures_util::StreamExt as _;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{AsyncConnectionConfig, Client, TlsCertificates};

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not `redis://` or `rediss://`.
    #[error("the bus's address is not of the form rediss://:PASSWORD@HOST:PORT")]
    Form,
    /// It asks for TLS that proves nothing.
    #[error("the bus's address asks for TLS without a check of the certificate, which is not done")]
    Insecure,
    /// The authorities.
    #[error("the bus's authorities cannot be used: {0}")]
    Authorities(String),
}

/// Why the server is of no use now.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// What it answered, or why it does not.
    #[error("{0}")]
    Server(#[from] redis::RedisError),
    /// Nothing came in time.
    #[error("it does not answer in time")]
    Late,
    /// It closed the connection.
    #[error("it closed the connection")]
    Closed,
}

/// An address that can be used.
#[derive(Debug)]
pub(crate) struct Address {
    client: Client,
}

impl Address {
    /// Reads an address; with authorities, theirs are the only certificates that count.
    pub(crate) fn read(
        url: &Secret<String>,
        authorities: Option<&[u8]>,
    ) -> Result<Self, AddressError> {
        let url = url.expose().as_str();
        let is_secure = url.starts_with("rediss://");
        if !is_secure && !url.starts_with("redis://") {
            return Err(AddressError::Form);
        }
        if url.contains('#') {
            return Err(AddressError::Insecure);
        }
        let client = match authorities {
            Some(pem) if is_secure => {
                let root_cert = Some(pem.to_vec());
                Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert })
                    .map_err(|error| AddressError::Authorities(error.to_string()))?
            }
            _ => Client::open(url).map_err(|_| AddressError::Form)?,
        };
        Ok(Self { client })
    }

    /// Connects and listens to channels.
    pub(crate) async fn connect(&self, channels: &[&str]) -> Result<(Ear, Mouth), ServerError> {
        let connecting = async {
            let (mut sink, stream) = self.client.get_async_pubsub().await?.split();
            for channel in channels {
                sink.subscribe(*channel).await?;
            }
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_WITHIN));
            let mouth = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            Ok((Ear { stream, _sink: sink }, Mouth(mouth)))
        };
        tokio::time::timeout(CONNECT_WITHIN, connecting).await.map_err(|_| ServerError::Late)?
    }
}

/// What hears.
pub(crate) struct Ear {
    stream: PubSubStream,
    /// The subscription ends with it.
    _sink: PubSubSink,
}

impl Ear {
    /// Waits for the next text; `None` once the server is gone.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let text = self.stream.next().await?;
        Some(Bytes::copy_from_slice(text.get_payload_bytes()))
    }
}

/// What speaks.
pub(crate) struct Mouth(MultiplexedConnection);

impl Mouth {
    /// Publishes texts in one go.
    pub(crate) async fn say(
        &mut self,
        texts: impl Iterator<Item = (String, Bytes)>,
    ) -> Result<(), ServerError> {
        let mut all = redis::pipe();
        for (channel, text) in texts {
            all.cmd("PUBLISH").arg(channel).arg(text.as_ref()).ignore();
        }
        Ok(all.query_async(&mut self.0).await?)
    }
}

/// How long connecting may take, TLS and subscriptions included.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long the server may take to pass a message on.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_check_of_certificates_is_refused() {
        // MNO-05
        let read = |url: &str| Address::read(&Secret::new(url.to_owned()), None).map(|_| ());
        assert!(matches!(read("rediss://127.0.0.1:6379/#insecure"), Err(AddressError::Insecure)));
        assert!(matches!(read("http://127.0.0.1:6379"), Err(AddressError::Form)));
        assert!(matches!(read("redis://"), Err(AddressError::Form)));
        assert!(read("rediss://:secret@bus.example:6379").is_ok());
    }

    #[test]
    fn authorities_that_cannot_be_read_are_refused() {
        let url = Secret::new("rediss://127.0.0.1:6379".to_owned());
        let bent = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let read = Address::read(&url, Some(bent));
        assert!(matches!(read, Err(AddressError::Authorities(_))));
    }
}
