//! A bus that is not to be trusted: what it may say, repeat or keep changes nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_bus::envelope::Key;
use adit_bus::{Message, To};
use adit_domain::{GatewayId, SessionId, TenantId, Timestamp};
use adit_testkit::{TestGateway, eventually, within};
use adit_wire::bus::v1 as pb;
use aws_lc_rs::hkdf;
use bytes::Bytes;
use futures_util::StreamExt as _;
use pb::word::Word;
use prost::Message as _;
use uuid::Uuid;

use super::pair::{Pair, metric};

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis().try_into().unwrap())
}

/// Gives the key of messages as the gateways derive it.
fn key_of(gateway: &TestGateway) -> Key {
    let secret = std::fs::read_to_string(gateway.data().join("session_token_secret")).unwrap();
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"adit");
    let mut key = [0; 32];
    let info = [&b"adit bus v1"[..]];
    let extracted = salt.extract(secret.trim().as_bytes());
    extracted.expand(&info, hkdf::HKDF_SHA256).unwrap().fill(&mut key).unwrap();
    Key::new(&key)
}

/// Hears the next message that says something, as it is on the wire, and its channel.
async fn overhear(pair: &Pair, say: impl AsyncFnOnce()) -> (String, Vec<u8>) {
    let mut ear = pair.redis.listen().await;
    say().await;
    within("a message", async {
        loop {
            let heard = ear.next().await.unwrap();
            let channel = heard.get_channel_name().to_owned();
            // A beat has no body, and goes to its own gateway.
            if channel.ends_with(":all") {
                return (channel, heard.get_payload_bytes().to_vec());
            }
        }
    })
    .await
}

async fn refused(gateway: &TestGateway, reason: &str) -> f64 {
    metric(gateway, &format!("adit_bus_refused_total{{reason=\"{reason}\"}}")).await
}

/// Publishes bytes and waits until B has refused them for a reason.
async fn refused_for(pair: &Pair, channel: &str, bytes: &[u8], reason: &str) {
    let before = refused(&pair.b, reason).await;
    assert!(pair.redis.publish(channel, bytes).await >= 2, "both gateways hear it");
    eventually("refusal of a message", async || {
        (refused(&pair.b, reason).await > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_that_was_bent_repeated_or_kept_is_refused() {
    // R20, MNO-03, MNO-05
    let pair = Pair::start().await;
    let (channel, heard) =
        overhear(&pair, async || drop(pair.a.user("ann", "viewer", None).await)).await;
    refused_for(&pair, &channel, &heard, "repeated").await;
    let mut bent = heard.clone();
    *bent.last_mut().unwrap() ^= 1;
    refused_for(&pair, &channel, &bent, "forged").await;
    refused_for(&pair, &channel, b"what is this?", "forged").await;
    let key = key_of(&pair.a);
    let message = key.open(&Bytes::from(heard)).expect("the key of messages is the gateways' own");
    let old = Message {
        number: message.number + 100,
        sent_at: now() - Duration::from_secs(61),
        ..message
    };
    refused_for(&pair, &channel, &key.seal(&old).unwrap(), "late").await;
}

#[tokio::test]
async fn a_word_that_the_database_does_not_bear_out_changes_nothing() {
    // R20
    let pair = Pair::start().await;
    let mut viewer = pair.open_across(&pair.b.admin, &["cat"]).await;
    let session: SessionId = viewer.session().parse().unwrap();
    let tenant_id = Bytes::copy_from_slice(TenantId::SEED.as_bytes());
    let session_id = Bytes::copy_from_slice(session.as_bytes());
    let words = [
        Word::Closed(pb::Closed { tenant_id: tenant_id.clone(), session_id: session_id.clone() }),
        Word::Ask(pb::Ask {
            id: vec![9; 16].into(),
            tenant_id: tenant_id.clone(),
            session_id: session_id.clone(),
            what: Some(pb::ask::What::Open(pb::Open {})),
        }),
        Word::OfReach(pb::OfReach {
            tenant_id: tenant_id.clone(),
            kind: pb::of_reach::Kind::Ended.into(),
            target: "agent:alpha".to_owned(),
            id: session_id,
        }),
        Word::Rights(pb::Rights {}),
    ];
    let (channel, _) =
        overhear(&pair, async || drop(pair.a.user("ann", "viewer", None).await)).await;
    let key = key_of(&pair.a);
    for (word, number) in words.into_iter().zip(1..) {
        let body = pb::Word { word: Some(word) }.encode_to_vec().into();
        let message = Message {
            from: GatewayId(Uuid::from_u128(77)),
            boot: Uuid::from_u128(78),
            to: To::All,
            number,
            sent_at: now(),
            body,
        };
        let sealed = key.seal(&message).unwrap();
        pair.redis.publish(&channel, &sealed).await;
        refused_for(&pair, &channel, &sealed, "repeated").await;
    }
    viewer.write(b"untouched\r");
    viewer.until_text("untouched").await;
}
