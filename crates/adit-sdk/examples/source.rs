//! A source: keeps an instance registered, and asks for a ticket for each machine that standard input names. It ends with standard input.
//!
//! `ADIT_MACHINES_URL` is the gateway's machine listener. `ADIT_IDENTITY` is a folder with `cert.pem`, `key.pem` and `ca.pem`; or `ADIT_P12`
//! is a bundle and `ADIT_P12_PASSWORD_FILE` the file with its password.

use std::error::Error;
use std::path::Path;

use adit_sdk::{
    Identity, TicketClient, TicketClientOptions, TicketInstanceManager,
    TicketInstanceManagerOptions, Transport,
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
    let transport = Transport { strategies: vec!["relay".to_owned()], ..Transport::default() };
    let options = TicketInstanceManagerOptions::new(client, "shell:connect", transport);
    let manager = TicketInstanceManager::new(options);
    println!("registered {}", manager.start().await?.instance_scope);
    let mut labels = BufReader::new(tokio::io::stdin()).lines();
    while let Some(label) = labels.next_line().await? {
        match manager.request_ticket_for_agent(&label, false).await {
            Ok(Some(ticket)) => {
                println!("ticket for {} until {}", ticket.target, ticket.expires_at)
            }
            Ok(None) => println!("{label} has one"),
            Err(error) => println!("none for {label}: {error}"),
        }
    }
    manager.stop().await?;
    println!("deregistered");
    Ok(())
}
