//! Measures sealing and opening of the JSON form, to stand beside `benches/json_rule.mjs`.
//!
//! Prints one line: `{"messagesPerSecond": …, "threads": …, "messagesPerSecondOneThread": …}`; sessions know nothing of each other,
//! so a gateway serves them on all its processors. Arguments: how many seconds to run (1).

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use adit_session::{
    Draft, MachineSecret, MessageType, NonceHistory, NonceLimits, Opener, Receiver, Sealer,
    SecretKey, Settings,
};
use uuid::Uuid;

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(1.0), |text| text.parse())?;
    let wanted = Duration::from_secs_f64(seconds);
    run(5000).map_err(|error| error.to_string())?;
    let one = rate(wanted).map_err(|error| error.to_string())?;
    let threads = thread::available_parallelism()?.get();
    let all: f64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(move || rate(wanted))).collect();
        let rates = workers.into_iter().map(|worker| worker.join().expect("no worker panics"));
        rates.sum::<Result<f64, _>>()
    })
    .map_err(|error| error.to_string())?;
    println!(
        "{{\"messagesPerSecond\":{all:.0},\"threads\":{threads},\"messagesPerSecondOneThread\":{one:.0}}}"
    );
    Ok(())
}

/// Messages a second of one thread.
fn rate(wanted: Duration) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let (start, mut messages) = (Instant::now(), 0);
    while start.elapsed() < wanted {
        messages += run(1000)?;
    }
    Ok(f64::from(messages) / start.elapsed().as_secs_f64())
}

/// Seals and opens so many messages, with an empty nonce history at first.
fn run(messages: u32) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let secret = MachineSecret::new("5f0c6a1be2d94378a6c1f20e9b7d5483")?;
    let (session_id, machine_id) = (
        Uuid::from_u128(0x8d3c_0a4e_6a57_4f2b_9f10_1c2d_3e4f_5a6b),
        Uuid::from_u128(0x1f2e_3d4c_5b6a_4978_8695_a4b3_c2d1_e0f9),
    );
    let settings = Settings::new(SecretKey::generate()?);
    let history = NonceHistory::new(NonceLimits::from_settings(&settings));
    let mut opener = Opener::new(Receiver::Machine, machine_id, secret.clone(), history);
    let mut sealer = Sealer::new(secret);
    let payload = r#"{"data":"ls -la /var/log\r","seq":42}"#;
    let kind = MessageType::TerminalInput;
    let draft = Draft { kind, session_id, machine_id, payload, session_token: None };
    for _ in 0..messages {
        let message = sealer.seal(&draft, SystemTime::now())?;
        opener.open(Some(session_id), message.as_bytes(), SystemTime::now())?;
    }
    Ok(messages)
}
