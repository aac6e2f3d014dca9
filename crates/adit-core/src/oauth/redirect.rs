//! Addresses that users are sent back to: compared as they were registered, byte for byte (RFC 9700 §2.1).

use adit_domain::service::ClientKind;

/// The longest address, in bytes.
const MAX_BYTES: usize = 2000;

/// The hosts of a program on the user's own machine, whose port nobody knows before it runs (RFC 8252 §7.3).
const LOOPBACK: [&str; 2] = ["127.0.0.1", "[::1]"];

/// Checks an address that a service registers.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn check(uri: &str, kind: ClientKind) -> Result<(), &'static str> {
    let plain =
        uri.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\'));
    if uri.is_empty() || uri.len() > MAX_BYTES || !plain {
        return Err("A redirect address is up to 2,000 printable ASCII characters.");
    }
    if uri.contains('#') {
        return Err("A redirect address has no fragment.");
    }
    if uri.contains('*') {
        return Err("A redirect address is compared as a whole; there is no wildcard.");
    }
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err("A redirect address begins with https://, or with http:// on loopback.");
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return Err("A redirect address names a host, and no user.");
    }
    match scheme {
        "https" => Ok(()),
        "http" if kind == ClientKind::Public && loopback(uri).is_some() => Ok(()),
        "http" if kind == ClientKind::Confidential && is_local(authority) => Ok(()),
        _ => Err("A redirect address begins with https://, or with http:// on loopback."),
    }
}

fn is_local(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host == "localhost" || LOOPBACK.contains(&host)
}

/// Tells whether a client may have a user sent to an address: one that it registered, and on loopback with any port where it is a
/// program on the user's own machine.
// BRW-15
pub fn is_registered(uri: &str, registered: &[String], kind: ClientKind) -> bool {
    if registered.iter().any(|known| known == uri) {
        return true;
    }
    let Some(wanted) = loopback(uri) else { return false };
    kind == ClientKind::Public && registered.iter().any(|known| loopback(known) == Some(wanted))
}

/// Splits an address on loopback into host and path, without its port.
fn loopback(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = LOOPBACK.into_iter().find(|host| authority.starts_with(host))?;
    match authority[host.len()..].strip_prefix(':') {
        Some(port) => {
            let good =
                port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with(['+', '0']);
            good.then_some((host, path))
        }
        None => (authority.len() == host.len()).then_some((host, path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_compared_as_a_whole() {
        // BRW-15
        let web = ["https://app.example/cb".to_owned(), "http://127.0.0.1:8080/cb".to_owned()];
        let kind = ClientKind::Confidential;
        assert!(is_registered(&web[0], &web, kind) && is_registered(&web[1], &web, kind));
        for bad in [
            "https://app.example/c",
            "https://app.example/cb/",
            "https://app.example/cb/../x",
            "https://app.example/x/../cb",
            "https://app.example/cb?x=1",
            "https://app.example/cb#x",
            "https://app.example@evil.example/cb",
            "https://app.example.evil.example/cb",
            "https://APP.example/cb",
            "HTTPS://app.example/cb",
            "https://app.example/%63b",
            "https://app.example/cb%2e",
            "https://app%2eexample/cb",
            "https://app.example:443/cb",
            "http://app.example/cb",
            "http://127.0.0.1:8081/cb",
            "http://localhost:8080/cb",
            " https://app.example/cb",
            "",
        ] {
            assert!(!is_registered(bad, &web, kind), "{bad}");
        }
    }

    #[test]
    fn a_program_on_the_users_machine_may_listen_on_any_port_of_loopback() {
        // BRW-15
        let native = ["http://127.0.0.1/cb".to_owned(), "http://[::1]/cb".to_owned()];
        for good in ["http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]:4000/cb"] {
            assert!(is_registered(good, &native, ClientKind::Public), "{good}");
            assert!(!is_registered(good, &native, ClientKind::Confidential), "{good}");
        }
        for bad in [
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:+80/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:80@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.1:80/cb/",
            "http://127.0.0.1:80/cb?x",
            "http://127.0.0.1:80/cb#x",
            "http://127.0.0.2:80/cb",
            "http://localhost:80/cb",
            "https://127.0.0.1:80/cb",
        ] {
            assert!(!is_registered(bad, &native, ClientKind::Public), "{bad}");
        }
    }

    #[test]
    fn an_address_that_would_leak_codes_is_not_registered() {
        for good in ["https://app.example/cb", "https://app.example/cb?x=1"] {
            assert_eq!(check(good, ClientKind::Public), Ok(()));
        }
        assert_eq!(check("http://127.0.0.1/cb", ClientKind::Public), Ok(()));
        assert_eq!(check("http://localhost:3000/cb", ClientKind::Confidential), Ok(()));
        for bad in [
            "http://app.example/cb",
            "https://*.example/cb",
            "https://app.example/cb#x",
            "https://a@app.example/cb",
            "https:///cb",
            "javascript://app.example/%0aalert(1)",
            "app:/cb",
            "data:text/html,x",
            "https://app.example/ü",
            "https://app.example/a b",
            "",
        ] {
            assert!(check(bad, ClientKind::Public).is_err(), "{bad}");
        }
    }
}
