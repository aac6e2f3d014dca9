//! Measures sealing and opening of the JSON form, to stand beside `benches/json_rule.mjs`.
//!
//! Prints one line: `{"messagesPerSecond": …}`. Arguments: how many seconds to run (1).

use std::time::{Duration, Instant, SystemTime};

use adit_session::{
    Draft, MachineSecret, MessageType, NonceHistory, NonceLimits, Opener, Receiver, SecretKey,
    Settings, seal,
};
use uuid::Uuid;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(1.0), |text| text.parse())?;
    run(5000)?;
    let (start, wanted) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut messages = 0;
    while start.elapsed() < wanted {
        messages += run(1000)?;
    }
    let rate = f64::from(messages) / start.elapsed().as_secs_f64();
    println!("{{\"messagesPerSecond\":{rate:.0}}}");
    Ok(())
}

/// Seals and opens so many messages, with an empty nonce history at first.
fn run(messages: u32) -> Result<u32, Box<dyn std::error::Error>> {
    let secret = MachineSecret::new("5f0c6a1be2d94378a6c1f20e9b7d5483")?;
    let (session_id, machine_id) = (
        Uuid::from_u128(0x8d3c_0a4e_6a57_4f2b_9f10_1c2d_3e4f_5a6b),
        Uuid::from_u128(0x1f2e_3d4c_5b6a_4978_8695_a4b3_c2d1_e0f9),
    );
    let settings = Settings::new(SecretKey::generate()?);
    let history = NonceHistory::new(NonceLimits::from_settings(&settings));
    let mut opener = Opener::new(Receiver::Machine, machine_id, secret.clone(), history);
    let payload = r#"{"data":"ls -la /var/log\r","seq":42}"#;
    let draft = Draft {
        kind: MessageType::TerminalInput,
        session_id,
        machine_id,
        payload,
        session_token: None,
    };
    for _ in 0..messages {
        let message = seal(&draft, &secret, SystemTime::now())?;
        opener.open(Some(session_id), message.as_bytes(), SystemTime::now())?;
    }
    Ok(messages)
}
