//! A target: waits to be let in, keeps the session, and says how it stands. It ends with standard input.
//!
//! It takes the same environment as the source beside it.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use adit_sdk::{
    Identity, TicketClient, TicketClientOptions, TicketSessionManager, TicketSessionManagerOptions,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

fn identity() -> Result<Identity, Box<dyn Error>> {
    if let Ok(bundle) = std::env::var("ADIT_P12") {
        let password = std::fs::read_to_string(std::env::var("ADIT_P12_PASSWORD_FILE")?)?;
        return Ok(Identity::from_p12(&std::fs::read(bundle)?, password.trim_end())?);
    }
    let folder = std::env::var("ADIT_IDENTITY")?;
    let file = |name: &str| Path::new(&folder).join(name);
    Ok(Identity::from_pem_files(&file("cert.pem"), &file("key.pem"), &file("ca.pem"))?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let panel_url = std::env::var("ADIT_MACHINES_URL")?;
    let client = TicketClient::new(TicketClientOptions { panel_url, identity: identity()? })?;
    let mut options = TicketSessionManagerOptions::new(client, "shell:connect");
    options.on_state_change = Some(Arc::new(|state, reason| match reason {
        Some(reason) => println!("{state:?}: {reason}"),
        None => println!("{state:?}"),
    }));
    if let Some(seconds) = std::env::var("ADIT_HEARTBEAT").ok().and_then(|text| text.parse().ok()) {
        options.session_heartbeat_interval = std::time::Duration::from_secs(seconds);
    }
    let manager = TicketSessionManager::new(options);
    manager.start();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {
        println!("session {}", manager.session_id().unwrap_or_default());
    }
    manager.stop().await;
    Ok(())
}
