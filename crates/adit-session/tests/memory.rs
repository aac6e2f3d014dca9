//! A million messages with a wrong HMAC leave nothing behind; a process of its own, so that its memory is its own.

use std::time::SystemTime;

use adit_session::{
    Draft, MachineSecret, MemoryAccess, MemoryEvents, MemoryStore, MessageType, NonceHistory,
    NonceLimits, Opener, Receiver, Refusal, SecretKey, SessionService, Settings, SystemClock, seal,
};
use uuid::Uuid;

const MACHINE: Uuid = Uuid::from_u128(2);

// TOK-11
#[tokio::test]
async fn a_million_messages_with_a_wrong_hmac_take_no_memory_and_spend_no_nonce() {
    let secret = MachineSecret::new("the secret of this machine").unwrap();
    let settings = Settings::new(SecretKey::generate().unwrap());
    let history = NonceHistory::new(NonceLimits::from_settings(&settings));
    let mut opener = Opener::new(Receiver::Machine, MACHINE, secret.clone(), history);
    let service = SessionService::new(
        settings,
        MemoryAccess::default(),
        SystemClock,
        MemoryStore::default(),
        MemoryEvents::default(),
    );
    let good = seal(&draft(), &secret, SystemTime::now()).unwrap();
    assert!(opener.open(None, good.as_bytes(), SystemTime::now()).is_ok());

    let guess = MachineSecret::new("a guess at that secret").unwrap();
    let mut forged = seal(&draft(), &guess, SystemTime::now()).unwrap().into_bytes();
    let nonce = nonce_place(&forged);
    let before_bytes = resident_bytes();
    for number in 0..MESSAGES {
        renumber(&mut forged[nonce..nonce + 8], number);
        let refused = opener.open(None, &forged, SystemTime::now());
        assert_eq!(refused.err(), Some(Refusal::HmacMismatch));
    }
    for number in 0..MESSAGES / 100 {
        renumber(&mut forged[nonce..nonce + 8], number);
        let answer = service.validate_secure_message(&forged, MACHINE, &secret).await;
        assert_eq!(answer.reason, Some(Refusal::HmacMismatch));
    }
    let grown_bytes = resident_bytes().saturating_sub(before_bytes);

    assert!(grown_bytes < 10 * 1024 * 1024, "{grown_bytes}");
    assert_eq!(opener.history().len(), 1);
    let again = opener.open(None, good.as_bytes(), SystemTime::now());
    assert_eq!(again.unwrap_err(), Refusal::Replayed);
}

fn nonce_place(message: &[u8]) -> usize {
    let name = br#""nonce":""#;
    let from = message.windows(name.len()).rposition(|window| window == name);
    from.expect("every message has one") + name.len()
}

/// Makes a nonce fresh, which the HMAC does not know.
fn renumber(digits: &mut [u8], number: u32) {
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * place) & 15) as usize];
    }
}

fn draft() -> Draft<'static> {
    Draft {
        kind: MessageType::TerminalInput,
        session_id: Uuid::from_u128(3),
        machine_id: MACHINE,
        payload: r#"{"data":"x"}"#,
        session_token: None,
    }
}

/// What the kernel says that this process holds, in pages of 4 KiB.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.expect("the second field is a number") * 4096
}

const MESSAGES: u32 = 1_000_000;
