//! The shape of a sealed message: one meaning or none.

use adit_session::{Fault, MessageType, Refusal, SecureMessage, seal_with_nonce};
use proptest::prelude::*;

use super::*;

const NONCE: &str = "000102030405060708090a0b0c0d0e0f";

fn message() -> String {
    let nonce = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let draft = draft(MessageType::TerminalInput, r#"{"data":"100"}"#);
    seal_with_nonce(&draft, &secret(), now(), nonce).unwrap()
}

fn open(message: &[u8]) -> Result<SecureMessage, Refusal> {
    opener().open(Some(SESSION), message, now())
}

// TOK-27
#[test]
fn permuted_keys_and_white_space_mean_the_same() {
    let json: serde_json::Value = serde_json::from_str(&message()).unwrap();
    let data = &json["data"];
    let permuted = format!(
        "\t{{ \"data\" : {{\"hmac\":{},\"timestamp\":{},\"payload\":{},\"nonce\":{},\r\n\
         \"machineId\":{},\"sessionId\":{}}},\n\"type\":{}}} \n",
        data["hmac"],
        data["timestamp"],
        data["payload"],
        data["nonce"],
        data["machineId"],
        data["sessionId"],
        json["type"],
    );
    assert_eq!(open(permuted.as_bytes()).unwrap().payload.to_text().unwrap(), r#"{"data":"100"}"#);
}

// TOK-27
#[test]
fn another_spelling_of_the_payload_means_the_same() {
    let spelled = message().replace(r#"\"data\""#, r#"\u0022\u0064ata\""#);
    assert_ne!(spelled, message());
    assert_eq!(open(spelled.as_bytes()).unwrap().payload.to_text().unwrap(), r#"{"data":"100"}"#);
}

// TOK-27
#[test]
fn what_could_mean_two_things_is_refused() {
    let good = message();
    let changes = [
        good.replacen("{\"type\"", "{\"type\":\"execute_command\",\"type\"", 1),
        good.replacen("\"nonce\"", "\"payload\":\"x\",\"nonce\"", 1),
        good.replacen("{\"type\"", "{\"extra\":1,\"type\"", 1),
        good.replacen("\"nonce\"", "\"seq\":\"1\",\"nonce\"", 1),
        good.replacen("\"type\"", "\"\\u0074ype\"", 1),
        good.replacen("terminal_input", "terminal\\u005finput", 1),
        good.replacen("\"100", "1e2", 1).replacen("\\\"data", "data", 1),
        format!("\u{feff}{good}"),
        format!("{good}x"),
        format!("{good}{good}"),
        format!("[{good}]"),
        good.replacen(",\"data\"", ",,\"data\"", 1),
        good.replacen("}}", ",}}", 1),
        good.replacen("null", "nul", 1),
        good.replacen("null", "\"token\"", 1),
        good.replacen("null", "true", 1),
        String::new(),
    ];
    for changed in changes {
        assert_ne!(changed, good);
        assert_eq!(open(changed.as_bytes()).unwrap_err().code(), "message.malformed", "{changed}");
    }
    assert_eq!(open(b"{\"type\":\"\xff\"}").unwrap_err(), Refusal::Malformed(Fault::Utf8));
}

// TOK-09
#[test]
fn a_nonce_has_one_spelling_and_one_size() {
    let mut opener = opener();
    assert!(opener.open(None, message().as_bytes(), now()).is_ok());
    let million = "ab".repeat(500_000);
    let others =
        ["", "00", "0", &NONCE[..30], "000102030405060708090a0b0c0d0e0f00", "zz", &million];
    for other in others.into_iter().chain([
        NONCE.to_uppercase().as_str(),
        "000102030405060708090a0b0c0d0e0F",
        "0x0102030405060708090a0b0c0d0e0f",
        " 00102030405060708090a0b0c0d0e0f",
        "\\u003000102030405060708090a0b0c0d0e0f",
    ]) {
        let changed = message().replace(NONCE, other);
        let refused = opener.open(None, changed.as_bytes(), now()).unwrap_err();
        let expected = match other {
            _ if other.len() > 65_536 => Refusal::TooLarge,
            _ if other.contains('\\') => Refusal::Malformed(Fault::Json),
            _ => Refusal::Malformed(Fault::Nonce),
        };
        assert_eq!(refused, expected);
    }
}

// SES-22
#[test]
fn each_field_of_a_wrong_form_is_named() {
    let cases = [
        ("terminal_input", "terminal_inputs", Fault::Type),
        ("terminal_input", "", Fault::Type),
        ("8d3c0a4e-", "8D3C0A4E-", Fault::Id),
        ("8d3c0a4e-", "8d3c0a4e", Fault::Id),
        ("1f2e3d4c-5b6a", "{1f2e3d4c-5b6", Fault::Id),
        ("2026-11-22T", "2026-11-31T", Fault::Timestamp),
        (".000Z", "Z", Fault::Timestamp),
        (".000Z", ".000+00:00", Fault::Timestamp),
    ];
    for (from, to, fault) in cases {
        let changed = message().replacen(from, to, 1);
        assert_eq!(open(changed.as_bytes()).unwrap_err(), Refusal::Malformed(fault), "{to}");
    }
    let hmac = message()[message().len() - 67..message().len() - 3].to_owned();
    for other in [hmac.to_uppercase(), hmac[..62].to_owned(), format!("{hmac}00"), String::new()] {
        let refused = open(message().replace(&hmac, &other).as_bytes()).unwrap_err();
        assert_eq!(refused, Refusal::Malformed(Fault::Hmac));
    }
}

// TOK-27
#[test]
fn a_missing_field_is_refused() {
    let json: serde_json::Value = serde_json::from_str(&message()).unwrap();
    for name in ["sessionId", "machineId", "payload", "nonce", "timestamp", "hmac"] {
        let mut less = json.clone();
        less["data"].as_object_mut().unwrap().remove(name);
        let refused = open(less.to_string().as_bytes()).unwrap_err();
        assert_eq!(refused, Refusal::Malformed(Fault::Json));
    }
    for name in ["type", "data"] {
        let mut less = json.clone();
        less.as_object_mut().unwrap().remove(name);
        let refused = open(less.to_string().as_bytes()).unwrap_err();
        assert_eq!(refused, Refusal::Malformed(Fault::Json));
    }
}

// SES-22
#[test]
fn a_payload_that_is_no_string_is_refused() {
    for payload in ["100", "null", "{}", "[\"a\"]", "true"] {
        let changed = message().replacen(r#""{\"data\":\"100\"}""#, payload, 1);
        assert_eq!(
            open(changed.as_bytes()).unwrap_err(),
            Refusal::Malformed(Fault::Json),
            "{payload}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // SES-21
    #[test]
    fn what_is_sealed_is_opened_as_it_was(payload in ".*") {
        let opened = open(sealed(&payload).as_bytes()).unwrap();
        prop_assert_eq!(opened.payload.to_text().unwrap(), payload.clone());
        prop_assert_eq!(opened.payload.to_utf16(), payload.encode_utf16().collect::<Vec<_>>());
    }

    // TOK-27
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open(&bytes).is_err());
    }

    // TOK-27
    #[test]
    fn no_cut_and_no_splice_of_a_message_is_accepted(from in 0usize..300, to in 0usize..300, insert in ".{0,5}") {
        let good = message();
        let (from, to) = (from.min(good.len()), to.min(good.len()));
        let spliced = [&good.as_bytes()[..from.min(to)], insert.as_bytes(), &good.as_bytes()[from.max(to)..]].concat();
        if let Ok(opened) = open(&spliced) {
            prop_assert_eq!(opened.payload.to_text().unwrap(), r#"{"data":"100"}"#);
        }
    }

    // TOK-02
    #[test]
    fn another_secret_opens_nothing(other in "[ -~]{16,64}") {
        prop_assume!(other != MACHINE_SECRET);
        let draft = draft(MessageType::TerminalInput, "{}");
        let other = adit_session::MachineSecret::new(&other).unwrap();
        let forged = adit_session::seal(&draft, &other, now()).unwrap();
        prop_assert_eq!(open(forged.as_bytes()).unwrap_err(), Refusal::HmacMismatch);
    }
}
