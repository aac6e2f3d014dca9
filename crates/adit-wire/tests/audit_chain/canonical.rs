//! One event, one form.

use std::collections::BTreeMap;

use adit_domain::id::{EventId, GatewayId, TenantId};
use adit_domain::time::Timestamp;
use adit_wire::audit::{AuditEvent, NotCanonical, Outcome, Party, escape};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::sample::{event, gateway};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn party() -> impl Strategy<Value = Party> {
    (any::<String>(), any::<String>(), any::<String>()).prop_map(|(kind, id, name)| Party {
        kind,
        id,
        name,
    })
}

prop_compose! {
    fn any_event()(
        ids in any::<[u128; 3]>(),
        at in any::<i64>(),
        event in any::<String>(),
        actor in party(),
        target in prop::option::of(party()),
        outcome in prop::sample::select(vec![Outcome::Ok, Outcome::Denied, Outcome::Failed]),
        details in prop::collection::btree_map(any::<String>(), value(), 0..4),
        correlation in prop::option::of(any::<String>()),
        client in prop::option::of(any::<String>()),
    ) -> AuditEvent {
        AuditEvent {
            id: EventId::from_bytes(&ids[0].to_be_bytes()).unwrap(),
            at: Timestamp(at),
            tenant: TenantId::from_bytes(&ids[1].to_be_bytes()).unwrap(),
            gateway: GatewayId::from_bytes(&ids[2].to_be_bytes()).unwrap(),
            event, actor, target, outcome, details, correlation, client,
        }
    }
}

proptest! {
    #[test]
    fn an_event_reads_back_from_its_form(event in any_event()) {
        prop_assert_eq!(AuditEvent::decode(event.canonical().as_bytes()), Ok(event));
    }

    // AUD-05
    #[test]
    fn every_form_is_one_line_of_json_without_a_character_that_acts(event in any_event()) {
        let form = event.canonical();
        prop_assert!(!form.chars().any(escape::acts));
        let read: Value = serde_json::from_str(&form).unwrap();
        prop_assert_eq!(&read["event"], &event.event);
        prop_assert_eq!(&read["actor"]["name"], &event.actor.name);
    }

    #[test]
    fn two_events_that_differ_have_two_forms(one in any_event(), other in any_event()) {
        prop_assert_eq!(one == other, one.canonical() == other.canonical());
    }

    #[test]
    fn random_bytes_are_no_event(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(AuditEvent::decode(&bytes).is_err());
    }

    #[test]
    fn a_form_with_a_changed_byte_is_no_form_or_another_event(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let event = event(2, gateway(1));
        let mut bytes = event.canonical().into_bytes();
        let at = at.index(bytes.len());
        let changed = std::mem::replace(&mut bytes[at], to) != to;
        prop_assert_eq!(AuditEvent::decode(&bytes) != Ok(event), changed);
    }
}

#[test]
fn the_form_is_the_documented_one() {
    let mut event = event(2, gateway(1));
    event.details = BTreeMap::from([
        ("b".into(), json!({"z": 1, "a": [true, null]})),
        ("a".into(), "x\"\\\n".into()),
    ]);
    event.correlation = None;
    let expected = concat!(
        r#"{"v":1,"id":"00000000-0000-0000-0000-000000110002","at":1795000002000,"#,
        r#""tenant":"01900000-0000-7000-8000-000000000001","gateway":"00000000-0000-0000-0000-000000770001","#,
        r#""event":"terminal_session_start","actor":{"kind":"user","id":"u-1","name":"ann"},"#,
        r#""target":{"kind":"machine","id":"m-1","name":"db-1"},"outcome":"ok","#,
        r#""details":{"a":"x\"\\\u000a","b":{"a":[true,null],"z":1}},"correlation":null,"client":"192.0.2.7:4711"}"#,
    );
    assert_eq!(event.canonical(), expected);
}

#[test]
fn an_event_that_is_written_otherwise_is_not_taken() {
    let form = event(1, gateway(1)).canonical();
    let otherwise = [
        form.replace("\"v\":1", "\"v\": 1"),
        form.replace("\"ann\"", "\"\\u0061nn\""),
        form.replace("{\"number\":1}", "{\"number\":1,\"number\":1}"),
        form.replace("{\"number\":1}", "{\"number\":1e0}"),
        form.replace("01900000-0000-7000", "{01900000-0000-7000"),
        form.replace("-000000110001", "-00000011000A"),
        form.replacen("\"v\":1,", "", 1),
        form.replace(",\"client\"", ",\"extra\":1,\"client\""),
        format!("{form} "),
        format!("{form}\n"),
    ];
    for text in otherwise {
        assert!(AuditEvent::decode(text.as_bytes()).is_err(), "{text}");
    }
    let spaced = form.replace(",\"at\"", ", \"at\"");
    assert_eq!(AuditEvent::decode(spaced.as_bytes()), Err(NotCanonical::Otherwise));
}

#[test]
fn deep_details_are_refused_and_not_followed() {
    let form = event(1, gateway(1)).canonical();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = form.replace("{\"number\":1}", &format!("{{\"number\":{deep}}}"));
    assert_eq!(AuditEvent::decode(text.as_bytes()), Err(NotCanonical::Unreadable));
}
