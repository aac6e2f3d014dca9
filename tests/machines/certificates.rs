//! Certificates: how they are issued, who reads them, and what is let in.

use std::fs;
use std::process::Command;

use adit_testkit::TestGateway;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::{Value, json};

use super::holder::{Holder, adit, json as told, mode, request, run};
use crate::tickets::peer::register;

/// Connects with the bundle, as a program in Node would, and says what the gateway answered.
const NODE: &str = r#"
const https = require("node:https"), fs = require("node:fs");
const [dir, url, passphrase] = process.argv.slice(1);
https.get(`${url}/nothing`, { pfx: fs.readFileSync(`${dir}/bundle.p12`), passphrase, ca: fs.readFileSync(`${dir}/ca.pem`) },
  (answer) => { console.log(answer.statusCode, answer.socket.authorized); answer.resume(); });
"#;

const PASSWORD: &str = "correct horse ☂ battery";

#[tokio::test]
async fn the_files_of_a_certificate_are_read_by_openssl_and_node() {
    // TIX-1, TIX-4
    let gateway = TestGateway::start();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), format!("{PASSWORD}\n")).unwrap();
    let file = secret.path().to_str().unwrap();
    register(&gateway, "files", &["files:read"]).await;
    register(&gateway, "shell", &["shell:connect"]).await;
    let more = ["--p12-password-file", file, "--capability", "files:read", "--capability", "shell"];
    let holder = Holder::with(&gateway, "agent:box", &more);
    for name in ["cert.pem", "key.pem", "ca.pem", "bundle.p12"] {
        assert_eq!(mode(&holder.path(name)), 0o600, "{name}");
    }
    let mut verify = Command::new("openssl");
    verify.args(["verify", "-purpose", "sslclient", "-x509_strict", "-CAfile"]);
    verify.arg(holder.path("ca.pem")).arg("-untrusted").arg(holder.path("cert.pem"));
    run(verify.arg(holder.path("cert.pem")));
    let mut pkcs12 = Command::new("openssl");
    pkcs12.args(["pkcs12", "-nodes", "-info", "-passin"]).arg(format!("file:{file}"));
    let output = run(pkcs12.arg("-in").arg(holder.path("bundle.p12")));
    let (text, info) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 3, "{text}");
    assert!(
        text.contains("BEGIN PRIVATE KEY") && text.contains("CN=agent:box")
            || text.contains("CN = agent:box")
    );
    assert!(info.contains("AES-256-CBC") && info.contains("MAC: sha256"), "{info}");
    let mut node = Command::new("node");
    let output =
        run(node.args(["-e", NODE]).arg(holder.dir.path()).arg(&gateway.machines).arg(PASSWORD));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "404 true");
    let listed = told(&mut adit(&gateway, &["cert", "ls", "--name", "agent:box"]));
    let [one] = &listed["items"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!(one["capabilities"], json!(["files:read", "shell"]));
    assert_eq!((&one["status"], &one["issuedBy"]), (&json!("valid"), &json!("user:admin")));
    assert!(holder.read("cert.pem").contains(one["certificate"].as_str().unwrap()));
    let shown = told(&mut adit(&gateway, &["cert", "show", one["serial"].as_str().unwrap()]));
    assert_eq!(shown["id"], one["id"]);
}

#[tokio::test]
async fn a_short_password_or_a_name_of_ones_own_gets_no_certificate() {
    let gateway = TestGateway::start();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let issue = |name: &str, more: &[&str]| {
        let mut command = adit(&gateway, &["cert", "issue", name, "--out"]);
        let output = command.arg(&out).args(more).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(dir.path().join("short"), "1234567\n").unwrap();
    let short = dir.path().join("short");
    let (status, _) = issue("admin", &["--p12-password-file", short.to_str().unwrap()]);
    assert_eq!(status, Some(2));
    for name in ["root", "agent:admin", "agent:a:b", "admin:x", "plugin-agent:nobody:x"] {
        let (status, why) = issue(name, &[]);
        assert_eq!(status, Some(125), "{name}");
        assert!(why.contains("request.invalid"), "{name}: {why}");
    }
    let (status, why) = issue("agent:box", &["--capability", "Files:*"]);
    assert!(status == Some(125) && why.contains("request.invalid"), "{why}");
    assert!(!out.join("cert.pem").exists());
    let listed = told(&mut adit(&gateway, &["cert", "ls", "--name", "admin"]));
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn a_viewer_of_machines_issues_and_lists_no_certificates() {
    let gateway = TestGateway::start();
    let eve = gateway.user("eve", "viewer", None).await;
    let (csr, _) = request(tempfile::tempdir().unwrap().path());
    let body = json!({"name": "admin", "csr": csr});
    assert_eq!(eve.api.post("/api/v1/certificates", body).await.status, 403);
    assert_eq!(eve.api.get("/api/v1/certificates").await.status, 403);
    assert_eq!(eve.api.post("/api/v1/authorities/rotate", json!({})).await.status, 403);
    assert_eq!(eve.api.get("/api/v1/enrolment-tokens").await.status, 403);
    assert!(gateway.events("access.denied").await.len() >= 4);
}

#[tokio::test]
async fn what_a_request_asks_for_beside_its_key_is_not_given() {
    // AGT-06
    let gateway = TestGateway::start();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-subj", "/CN=admin/O=root", "-addext", "basicConstraints=critical,CA:TRUE"]);
    openssl.args([
        "-addext",
        "subjectAltName=DNS:gateway.example,URI:urn:uuid:00000000-0000-0000-0000-000000000001",
    ]);
    openssl.args([
        "-addext",
        "extendedKeyUsage=serverAuth,codeSigning",
        "-addext",
        "keyUsage=keyCertSign",
    ]);
    run(openssl.arg("-keyout").arg(path("key")).arg("-out").arg(path("csr")));
    let csr = fs::read_to_string(path("csr")).unwrap();
    let body = json!({"name": "agent:box", "csr": csr});
    let issued = gateway.admin.post("/api/v1/certificates", body).await.ok();
    fs::write(path("cert"), issued["certificate"].as_str().unwrap()).unwrap();
    let mut x509 = Command::new("openssl");
    let output = run(x509.args(["x509", "-noout", "-text", "-in"]).arg(path("cert")));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("CA:FALSE") && text.contains("TLS Web Client Authentication"), "{text}");
    for greed in [
        "CA:TRUE",
        "gateway.example",
        "urn:uuid",
        "Server Authentication",
        "Code Signing",
        "Certificate Sign",
        "O=root",
        "O = root",
    ] {
        assert!(!text.contains(greed), "{greed}: {text}");
    }
}

#[tokio::test]
async fn only_a_certificate_of_this_gateway_that_counts_is_let_in() {
    // AGT-07, TIX-1
    let gateway = TestGateway::start();
    let holder = Holder::named(&gateway, "agent:box");
    assert_eq!(holder.is_let_in().await, Some(400), "a good certificate gets as far as the body");
    let (key, ca) = (holder.read("key.pem"), holder.read("ca.pem"));
    let own = self_signed(&["-subj", "/CN=agent:box"]);
    let own = Holder::of(&gateway, &own.0, &own.1, &ca);
    assert_eq!(own.is_let_in().await, None, "self-signed");
    let elsewhere = TestGateway::start();
    let foreign = Holder::named(&elsewhere, "agent:box");
    let foreign = Holder::of(&gateway, &foreign.read("cert.pem"), &foreign.read("key.pem"), &ca);
    assert_eq!(foreign.is_let_in().await, None, "another gateway's");
    let none = reqwest::Client::builder().no_proxy();
    let none = none.tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()]);
    let none = none.build().unwrap().get(format!("{}/api/machine/renew", gateway.machines));
    assert!(none.send().await.is_err(), "none at all");
    // The issuing authority's key is on this machine, so that certificates can be made here that the gateway never gave.
    for (what, purpose, years) in FORGED {
        let forged = forged(&gateway, purpose, *years);
        let forged = Holder::of(&gateway, &forged.0, &forged.1, &ca);
        let status = forged.is_let_in().await;
        assert!(matches!(status, None | Some(401)), "{what}: {status:?}");
    }
    told(&mut adit(&gateway, &["cert", "revoke", &serial(&gateway, "agent:box").await]));
    assert_eq!(holder.is_let_in().await, Some(401), "revoked");
    let again = Holder::of(&gateway, &holder.read("cert.pem"), &key, &ca);
    assert_eq!(again.is_let_in().await, Some(401), "revoked, shown anew");
    let refused = gateway.events("certificate.refused").await;
    assert!(refused.len() >= 4, "{refused:?}");
    assert!(refused.iter().any(|event| event["details"]["code"] == "certificate.refused"));
}

/// Certificates that the authority's key would sign: what is wrong with them, their use, and when they begin and end.
const FORGED: &[(&str, ExtendedKeyUsagePurpose, [i32; 2])] = &[
    ("a row that nobody wrote", ExtendedKeyUsagePurpose::ClientAuth, [2020, 2100]),
    ("for servers", ExtendedKeyUsagePurpose::ServerAuth, [2020, 2100]),
    ("past its end", ExtendedKeyUsagePurpose::ClientAuth, [2020, 2021]),
    ("before its beginning", ExtendedKeyUsagePurpose::ClientAuth, [2100, 2101]),
];

async fn serial(gateway: &TestGateway, name: &str) -> String {
    let listed = gateway.admin.get(&format!("/api/v1/certificates?name={name}")).await.ok();
    listed["items"][0]["serial"].as_str().unwrap().to_owned()
}

fn self_signed(more: &[&str]) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"]);
    openssl.args(["ec_paramgen_curve:P-256", "-days", "10"]).args(more);
    openssl.args(["-addext", "extendedKeyUsage=clientAuth"]);
    run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert));
    (fs::read_to_string(cert).unwrap(), fs::read_to_string(key).unwrap())
}

/// Signs a certificate with the gateway's issuing key, behind the gateway's back.
fn forged(
    gateway: &TestGateway,
    purpose: &ExtendedKeyUsagePurpose,
    [from, until]: [i32; 2],
) -> (String, String) {
    let read = |name: &str| fs::read_to_string(gateway.data().join(name)).unwrap();
    let (ca, ca_key) = (read("issuing-1.pem"), read("issuing-1.key"));
    let issuer = Issuer::from_ca_cert_pem(&ca, KeyPair::from_pem(&ca_key).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "agent:box");
    params.extended_key_usages = vec![purpose.clone()];
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, &issuer).unwrap();
    (made.pem() + &ca, key.serialize_pem())
}

#[tokio::test]
async fn a_machines_certificate_signs_nobody_elses() {
    // AGT-08
    let gateway = TestGateway::start();
    let mallory = Holder::named(&gateway, "agent:mallory");
    let dir = tempfile::tempdir().unwrap();
    let (csr, key) = request(dir.path());
    let path = |name: &str| dir.path().join(name);
    fs::write(path("csr"), csr).unwrap();
    fs::write(path("extensions"), "extendedKeyUsage=clientAuth").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-req", "-days", "10", "-in"]).arg(path("csr"));
    openssl.arg("-extfile").arg(path("extensions")).arg("-CA").arg(mallory.path("cert.pem"));
    run(openssl.arg("-CAkey").arg(mallory.path("key.pem")).arg("-out").arg(path("cert")));
    let chain = fs::read_to_string(path("cert")).unwrap() + &mallory.read("cert.pem");
    let forged = Holder::of(&gateway, &chain, &key, &mallory.read("ca.pem"));
    assert_eq!(forged.is_let_in().await, None);
    let refused = adit_testkit::eventually("refusal in the audit log", async || {
        gateway.events("certificate.refused").await.into_iter().next()
    });
    assert_eq!(refused.await["outcome"], "denied");
}

#[tokio::test]
async fn no_other_certificate_connects_as_a_machine() {
    // AGT-08, BEY-16
    let gateway = TestGateway::start();
    let delegator = Holder::named(&gateway, "agent:box");
    for name in ["admin", "agent:box", "plugin-agent:box:backup"] {
        let holder = Holder::named(&gateway, name);
        let upgrade = holder.client().get(format!("{}/ws/agent", gateway.machines));
        let upgrade = upgrade.header("connection", "upgrade").header("upgrade", "websocket");
        let upgrade = upgrade.header("sec-websocket-version", "13");
        let upgrade = upgrade.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let answer = upgrade.send().await.unwrap();
        assert_eq!(answer.status(), 401, "{name}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "auth.wrong_plane", "{name}");
    }
    assert_eq!(gateway.events("credential.wrong_plane").await.len(), 3);
    drop(delegator);
}

#[tokio::test]
async fn an_operators_certificate_ends_with_the_operator() {
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "admin", None).await;
    let dir = tempfile::tempdir().unwrap();
    let (csr, key) = request(dir.path());
    let body = json!({"name": "admin", "csr": csr});
    let issued = ann.api.post("/api/v1/certificates", body).await.ok();
    let text = |name: &str| issued[name].as_str().unwrap().to_owned();
    let holder = Holder::of(&gateway, &text("certificate"), &key, &text("ca"));
    assert_eq!(holder.is_let_in().await, Some(400));
    gateway.admin.delete(&format!("/api/v1/users/{}", ann.id)).await;
    assert_eq!(holder.is_let_in().await, Some(401));
}
