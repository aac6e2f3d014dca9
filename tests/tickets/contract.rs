//! The wire contract: every path, status, field and format.

use adit_testkit::TestGateway;
use reqwest::Method;
use serde_json::{Value, json};

use super::peer::{Peer, Reach, assign, hold, offer, scope};
use crate::machines::holder::Holder;

fn is_hex(value: &Value, digits: usize) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T'
}

#[tokio::test]
async fn one_machine_reaches_another_by_a_ticket() {
    // TIX-20, TIX-40, TIX-41, TIX-42, TIX-50, TIX-51
    let pair = Reach::start().await;
    let (status, issued) = pair.ask().await;
    let ticket = &issued["ticket"];
    assert_eq!((status, &issued["ok"]), (201, &json!(true)));
    assert!(is_hex(&ticket["id"], 64) && is_time(&ticket["expiresAt"]), "{ticket}");
    let expected = json!({
        "id": ticket["id"], "scope": "shell:connect", "instanceId": pair.instance, "source": "alpha", "target": "beta",
        "expiresAt": ticket["expiresAt"],
    });
    assert_eq!(*ticket, expected);

    let (status, inbox) = pair.target.get("/api/tickets/inbox").await;
    assert_eq!((status, &inbox["tickets"][0]["id"]), (200, &ticket["id"]));
    assert_eq!(
        inbox["tickets"][0]["transport"],
        json!({"strategies": ["relay"], "preferred": "relay"})
    );
    let (_, empty) = pair.source.get("/api/tickets/inbox").await;
    assert_eq!(empty, json!({"tickets": []}));

    let id = ticket["id"].as_str().unwrap();
    pair.gateway.remember(id);
    let (status, valid) = pair.validate(id).await;
    let expected = json!({
        "valid": true, "scope": "shell:connect", "instanceId": pair.instance, "source": "alpha", "target": "beta",
        "transport": {"strategies": ["relay"], "preferred": "relay"},
    });
    assert_eq!((status, valid), (200, expected));
    let (_, empty) = pair.target.get("/api/tickets/inbox").await;
    assert_eq!(empty, json!({"tickets": []}));

    // TKT-11: what the gateway knows better is let pass.
    let own = json!({"ticketId": id, "sessionId": "0".repeat(32), "lastActivityAt": "1970-01-01", "colour": "red"});
    let (status, opened) = pair.target.post("/api/tickets/sessions", own).await;
    let session = &opened["session"];
    assert_eq!((status, &opened["ok"]), (201, &json!(true)));
    assert!(is_hex(&session["sessionId"], 32) && session["sessionId"] != "0".repeat(32));
    assert!(is_time(&session["createdAt"]) && session["createdAt"] == session["lastActivityAt"]);
    let expected = json!({
        "sessionId": session["sessionId"], "ticketId": id, "scope": "shell:connect", "instanceId": pair.instance,
        "source": "alpha", "target": "beta", "createdAt": session["createdAt"], "lastActivityAt": session["createdAt"],
        "status": "active", "reconnectGraceSeconds": 60,
    });
    assert_eq!(*session, expected);
    let session = session["sessionId"].as_str().unwrap();
    assert_eq!(pair.heartbeat(session).await, (200, json!({"authorized": true})));
    for event in
        ["scope.register", "instance.offer", "assignment.add", "ticket.issue", "ticket.redeem"]
    {
        assert_eq!(pair.gateway.events(event).await.len(), 1, "{event}");
    }
}

#[tokio::test]
async fn a_ticket_opens_once_and_every_failure_is_answered_alike() {
    // TIX-42, TKT-01, TKT-04, TKT-18, BEY-5
    let pair = Reach::start().await;
    let used = pair.ticket().await;
    assert_eq!(pair.validate(&used).await.0, 200);
    let others = pair.ticket().await;
    let late = pair.ticket().await;
    pair.gateway.sql(
        "UPDATE machine_tickets SET expires_at = 1 WHERE state = 'issued' AND id = (SELECT max(id) FROM machine_tickets)",
    );
    let revoked = pair.ticket().await;
    assert_eq!(pair.operator.delete(&format!("/api/tickets/{revoked}")).await.0, 200);
    let never = "0123456789abcdef".repeat(4);
    let live = pair.ticket().await;
    let upper = live.to_uppercase();
    let padded = format!(" {live}");
    let mut seen = Vec::new();
    for (who, id) in [
        (&pair.target, used.as_str()),
        (&pair.source, others.as_str()),
        (&pair.target, late.as_str()),
        (&pair.target, revoked.as_str()),
        (&pair.target, never.as_str()),
        (&pair.target, "zz"),
        (&pair.target, ""),
        (&pair.target, upper.as_str()),
        (&pair.target, padded.as_str()),
    ] {
        let request = who.request(Method::POST, "/api/tickets/validate");
        let answer = request.json(&json!({"ticketId": id})).send().await.unwrap();
        let mut headers = answer.headers().clone();
        // What is every answer's own.
        headers.remove("date");
        headers.remove("traceresponse");
        let status = answer.status().as_u16();
        seen.push((status, format!("{headers:?}"), answer.text().await.unwrap()));
    }
    assert_eq!(seen[0].0, 401);
    let body: Value = serde_json::from_str(&seen[0].2).unwrap();
    assert_eq!(
        (&body["error"], &body["code"]),
        (&json!("Invalid ticket"), &json!("ticket.invalid"))
    );
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
    assert_eq!(pair.validate(&live).await.0, 200, "no other spelling used it up");
    for bad in [
        json!({"ticketId": ["a"]}),
        json!({"ticketId": {}}),
        json!({"ticketId": 7}),
        json!({"ticketId": null}),
        json!({}),
    ] {
        assert_eq!(pair.target.post("/api/tickets/validate", bad).await.0, 400);
    }
    let (status, refused) = pair.target.get(&format!("/api/tickets/inbox?ticket={never}")).await;
    assert_eq!((status, &refused["code"]), (400, &json!("ticket.in_url")));
    let huge = json!({"ticketId": "a".repeat(1 << 20)});
    assert_eq!(pair.target.post("/api/tickets/validate", huge).await.0, 413);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_to_the_same_caller_and_key() {
    // R53
    let pair = Reach::start().await;
    let id = pair.ticket().await;
    let validate = async |peer: &Peer, key: &str| {
        let request =
            peer.request(Method::POST, "/api/tickets/validate").header("idempotency-key", key);
        let answer = request.json(&json!({"ticketId": id})).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let first = validate(&pair.target, "one").await;
    assert_eq!(first.0, 200);
    assert_eq!(validate(&pair.target, "one").await, first);
    assert_eq!(validate(&pair.target, "two").await.0, 401);
    assert_eq!(validate(&pair.source, "one").await.0, 401);
    assert_eq!(pair.validate(&id).await.0, 401);
    pair.age(60_001);
    assert_eq!(validate(&pair.target, "one").await.0, 401);
}

#[tokio::test]
async fn a_ticket_that_is_refused_says_nothing_of_why() {
    // TIX-40, TKT-05
    let pair = Reach::start().await;
    let (gateway, operator) = (&pair.gateway, &pair.operator);
    let other = Peer::named(gateway, "agent:gamma");
    Peer::named(gateway, "agent:delta");
    hold(operator, "gamma", &["shell:connect"]).await;
    let foreign = offer(&other).await;
    hold(operator, "delta", &["shell:connect"]).await;
    assign(operator, "delta", &pair.instance).await;
    hold(operator, "delta", &[]).await;
    let nobody = "0".repeat(32);
    let wish = |instance: &str, target: &str| json!({"scope": "shell:connect", "instanceId": instance, "target": target});
    let mut seen = Vec::new();
    for body in [
        wish(&pair.instance, "delta"),
        wish(&pair.instance, "gamma"),
        wish(&pair.instance, "alpha"),
        wish(&pair.instance, "nobody"),
        wish(&pair.instance, "../x"),
        wish(&foreign, "beta"),
        wish(&nobody, "beta"),
        wish("x", "beta"),
        json!({"scope": "shell:other", "instanceId": pair.instance, "target": "beta"}),
        json!({"scope": "*", "instanceId": pair.instance, "target": "beta"}),
    ] {
        seen.push(pair.source.post("/api/tickets", body).await);
    }
    assert_eq!(seen[0].0, 404);
    assert!(seen[0].1["error"].is_string(), "{:?}", seen[0]);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
    hold(operator, "alpha", &[]).await;
    assert_eq!(pair.ask().await, seen[0], "the source lost its capability");
    let denied = gateway.events("access.denied").await;
    let reasons: Vec<&str> =
        denied.iter().filter_map(|event| event["details"]["reason"].as_str()).collect();
    for reason in [
        "TargetIncapable",
        "Unassigned",
        "Itself",
        "TargetRevoked",
        "NotOwner",
        "Gone",
        "SourceIncapable",
    ] {
        assert!(reasons.contains(&reason), "the audit log says {reason}: {reasons:?}");
    }
}

#[tokio::test]
async fn a_scope_of_another_form_is_refused() {
    // TIX-10, NET-12
    let pair = Reach::start().await;
    let operator = &pair.operator;
    let (status, taken) = operator.post("/api/tickets/scopes", scope("shell", &["shell:x"])).await;
    assert_eq!((status, &taken["code"]), (409, &json!("conflict")));
    let change = |path: &str, value: Value| {
        let mut body = scope("files", &["files:read"]);
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let many = |n: usize| {
        json!((0..n).map(|i| json!({"name": format!("files:a{i}")})).collect::<Vec<_>>())
    };
    let long = "a".repeat(51);
    for bad in [
        change("/name", json!("")),
        change("/name", json!(long)),
        change("/name", json!("Files")),
        change("/name", json!("fi:les")),
        change("/name", json!("admin")),
        change("/name", json!("terminal")),
        change("/scopes", json!([])),
        change("/scopes", many(51)),
        change("/scopes", json!([{"name": "files:read"}, {"name": "read"}])),
        change("/scopes/0/name", json!("shell:connect")),
        change("/scopes/0/name", json!("files:")),
        change("/version", json!("")),
        change("/transport/strategies", json!([])),
        change("/transport/strategies", json!(["relay", "relay"])),
        change("/transport/strategies", json!(["teleport"])),
        change("/transport/preferred", json!("none")),
        change("/transport/port", json!(1)),
        change("/transport/port", json!(1023)),
        change("/transport/port", json!(65_536)),
        change("/transport/port", json!(-1)),
        change("/transport/port", json!(22.0)),
        change("/transport/port", json!("22 ")),
        change("/transport/protocol", json!("udp")),
        json!({"name": "files"}),
        json!([]),
    ] {
        let (status, answer) = operator.post("/api/tickets/scopes", bad.clone()).await;
        assert_eq!(status, 400, "{bad}: {answer}");
        assert!(answer["error"].is_string());
    }
    let mut hooked = scope("files", &["files:read"]);
    // TKT-20
    hooked["hooks"] = json!({"onValidate": "rm -rf /"});
    assert_eq!(operator.post("/api/tickets/scopes", hooked).await.0, 400);
    let preferred = {
        let mut body = scope("files", &["files:read"]);
        body["transport"]["strategies"] = json!(["relay"]);
        body["transport"]["preferred"] = json!("direct");
        body
    };
    assert_eq!(operator.post("/api/tickets/scopes", preferred).await.0, 400);
}

#[tokio::test]
async fn scopes_are_registered_listed_and_removed_with_what_rests_on_them() {
    // TIX-2, TIX-10, TIX-11
    let pair = Reach::start().await;
    let operator = &pair.operator;
    let fifty: Vec<Value> = (0..50).map(|i| json!({"name": format!("files:a{i}")})).collect();
    let mut good = scope("files", &[]);
    good["scopes"] = json!(fifty);
    good["hooks"] = json!({});
    good["transport"]["port"] = json!(1024);
    let (status, registered) = operator.post("/api/tickets/scopes", good).await;
    assert_eq!((status, registered["registered"].as_array().unwrap().len()), (201, 50));

    let (status, listed) = operator.get("/api/tickets/scopes").await;
    assert_eq!(status, 200);
    let names: Vec<&Value> =
        listed["scopes"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, [&json!("files"), &json!("shell")]);
    assert_eq!(listed["instances"][0]["instanceScope"], format!("shell:connect:{}", pair.instance));
    assert_eq!(listed["assignments"][0]["agentLabel"], "beta");

    let session = pair.session().await;
    assert_eq!(
        operator.delete("/api/tickets/scopes/shell").await,
        (200, json!({"ok": true, "name": "shell"}))
    );
    assert_eq!(operator.delete("/api/tickets/scopes/shell").await.0, 404);
    assert_eq!(pair.heartbeat(&session).await.0, 404);
    let (_, listed) = operator.get("/api/tickets/scopes").await;
    assert_eq!((&listed["instances"], &listed["assignments"]), (&json!([]), &json!([])));
    operator.post("/api/tickets/scopes", scope("shell", &["shell:connect"])).await;
    let (_, holders) = operator.get("/api/tickets/capabilities").await;
    assert_eq!(holders, json!({"holders": []}), "it is nobody's when it is registered again");
}

#[tokio::test]
async fn an_instance_is_offered_once_a_scope_and_machine() {
    // TIX-20, TIX-22
    let pair = Reach::start().await;
    let path = "/api/tickets/instances";
    let body = json!({"scope": "shell:connect", "transport": {
        "strategies": ["direct", "relay"], "preferred": "direct", "direct": {"host": "Edge.example.org.", "port": 2222},
    }});
    let expected = json!({"ok": true, "instanceId": pair.instance, "instanceScope": format!("shell:connect:{}", pair.instance)});
    assert_eq!(pair.source.post(path, body.clone()).await, (200, expected));
    let (_, listed) = pair.operator.get("/api/tickets/scopes").await;
    assert_eq!(
        listed["instances"][0]["transport"]["direct"],
        json!({"host": "edge.example.org", "port": 2222})
    );
    for (pointer, bad) in [
        ("/transport/strategies", json!([])),
        ("/transport/strategies", json!(["x"])),
        ("/transport/preferred", json!("tunnel")),
        ("/transport/direct", Value::Null),
        ("/transport/direct/port", json!(1023)),
        ("/transport/direct/port", json!(0)),
        ("/transport/direct/port", json!(65_536 + 22)),
        ("/transport/direct/port", json!("22 ")),
        ("/transport/direct/host", json!("")),
        ("/transport/direct/host", json!("a".repeat(256))),
        ("/transport/direct/host", json!("127.0.0.1")),
        ("/transport/direct/host", json!("2130706433")),
        ("/transport/direct/host", json!("localhost.")),
        ("/transport/direct/host", json!("::ffff:10.0.0.1")),
    ] {
        // NET-01, NET-12
        let mut wrong = body.clone();
        *wrong.pointer_mut(pointer).unwrap() = bad;
        let (status, answer) = pair.source.post(path, wrong.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!("request.invalid")), "{wrong}");
    }
    let relay = |scope: &str| json!({"scope": scope, "transport": {"strategies": ["relay"]}});
    assert_eq!(pair.source.post(path, relay("shell:other")).await.0, 404);
    assert_eq!(pair.source.post(path, relay("*")).await.0, 404);
    let stranger = Peer::named(&pair.gateway, "agent:gamma");
    let (status, refused) = stranger.post(path, relay("shell:connect")).await;
    assert_eq!((status, &refused["code"]), (403, &json!("access.capability_missing")));

    let beat = format!("{path}/{}/heartbeat", pair.instance);
    assert_eq!(pair.source.post(&beat, json!({})).await, (200, json!({"ok": true})));
    assert_eq!(pair.operator.post(&beat, json!({})).await.0, 200);
    assert_eq!(pair.target.post(&beat, json!({})).await.0, 404, "it is not the target's");
    let own = format!("{path}/{}", pair.instance);
    let none = format!("{path}/{}", "0".repeat(32));
    let foreign = pair.target.delete(&own).await;
    assert_eq!(foreign, pair.target.delete(&none).await, "not yours and not there are alike");
    assert_eq!(foreign.0, 404);
    hold(&pair.operator, "alpha", &[]).await;
    assert_eq!(pair.source.post(&beat, json!({})).await.0, 404, "without the capability");
    let removed = json!({"ok": true, "instanceId": pair.instance});
    assert_eq!(pair.source.delete(&own).await, (200, removed));
    assert_eq!(pair.source.delete(&own).await.0, 404);
}

#[tokio::test]
async fn an_operator_assigns_who_may_be_let_in() {
    // TIX-30
    let pair = Reach::start().await;
    let (gateway, operator) = (&pair.gateway, &pair.operator);
    let scope = format!("shell:connect:{}", pair.instance);
    let path = "/api/tickets/assignments";
    let wish = |label: &str, scope: &str| json!({"agentLabel": label, "instanceScope": scope});
    let (status, again) = operator.post(path, wish("beta", &scope)).await;
    let assignment = &again["assignment"];
    assert_eq!((status, &again["ok"]), (200, &json!(true)));
    assert!(is_time(&assignment["assignedAt"]) && assignment["assignedBy"].is_string());
    assert_eq!(
        (&assignment["agentLabel"], &assignment["instanceScope"]),
        (&json!("beta"), &json!(scope))
    );
    Peer::named(gateway, "agent:gamma");
    assert_eq!(
        operator.post(path, wish("gamma", &scope)).await.0,
        400,
        "it does not hold the capability"
    );
    assert_eq!(operator.post(path, wish("nobody", &scope)).await.0, 404);
    let none = format!("shell:connect:{}", "0".repeat(32));
    assert_eq!(operator.post(path, wish("beta", &none)).await.0, 404);
    for bad in [
        wish("", &scope),
        wish("a:b", &scope),
        wish(&"a".repeat(151), &scope),
        wish("beta", ""),
        wish("beta", &"a".repeat(201)),
    ] {
        assert_eq!(operator.post(path, bad.clone()).await.0, 400, "{bad}");
    }
    for (query, found) in [("", 1), ("?agentLabel=beta", 1), ("?agentLabel=alpha", 0)] {
        let (_, listed) = operator.get(&format!("{path}{query}")).await;
        assert_eq!(listed["assignments"].as_array().unwrap().len(), found, "{query}");
    }
    let (_, listed) = operator.get(&format!("{path}?instanceScope={scope}")).await;
    assert_eq!(listed["assignments"].as_array().unwrap().len(), 1);
    let ticket = pair.ticket().await;
    assert_eq!(operator.delete(&format!("{path}/beta/{scope}")).await.0, 200);
    assert_eq!(operator.delete(&format!("{path}/beta/{scope}")).await.0, 404);
    assert_eq!(pair.validate(&ticket).await.0, 401, "what rested on it opens nothing");
    assert_eq!(pair.ask().await.0, 404);
}

#[tokio::test]
async fn operators_and_machines_have_routes_of_their_own() {
    // TIX-1
    let pair = Reach::start().await;
    let scope = format!("shell:connect:{}", pair.instance);
    for (method, path) in [
        (Method::POST, "/api/tickets/scopes".to_owned()),
        (Method::GET, "/api/tickets/scopes".to_owned()),
        (Method::DELETE, "/api/tickets/scopes/shell".to_owned()),
        (Method::GET, "/api/tickets/capabilities".to_owned()),
        (Method::PUT, "/api/tickets/capabilities/beta".to_owned()),
        (Method::POST, "/api/tickets/assignments".to_owned()),
        (Method::GET, "/api/tickets/assignments".to_owned()),
        (Method::DELETE, format!("/api/tickets/assignments/beta/{scope}")),
        (Method::GET, "/api/tickets".to_owned()),
        (Method::DELETE, format!("/api/tickets/{}", "0".repeat(32))),
        (Method::GET, "/api/tickets/sessions".to_owned()),
        (Method::DELETE, format!("/api/tickets/sessions/{}", "0".repeat(32))),
    ] {
        let body = match path.as_str() {
            "/api/tickets/scopes" => super::peer::scope("files", &["files:read"]),
            "/api/tickets/assignments" => json!({"agentLabel": "beta", "instanceScope": scope}),
            _ => json!({"capabilities": []}),
        };
        let (status, refused) = pair.source.send(method.clone(), &path, Some(body)).await;
        assert_eq!(status, 403, "{method} {path}: {refused}");
    }
    for (method, path, body) in [
        (Method::POST, "/api/tickets", pair.wish("beta")),
        (Method::GET, "/api/tickets/inbox", Value::Null),
        (Method::POST, "/api/tickets/validate", json!({"ticketId": "0".repeat(64)})),
        (Method::POST, "/api/tickets/sessions", json!({"ticketId": "0".repeat(64)})),
        (
            Method::POST,
            "/api/tickets/instances",
            json!({"scope": "shell:connect", "transport": {"strategies": ["relay"]}}),
        ),
    ] {
        let (status, _) = pair.operator.send(method.clone(), path, Some(body.clone())).await;
        assert_eq!(status, 403, "{method} {path}");
        let request = pair.gateway.admin.request(method.clone(), path).json(&body);
        let status = pair.gateway.admin.send(request).await.status.as_u16();
        assert!(matches!(status, 404 | 405), "{method} {path} is for certificates: {status}");
    }
    let answer = pair.gateway.admin.get("/api/tickets/scopes").await;
    assert_eq!(answer.status, 200, "operators come with a sign-in as well");
    assert_eq!(
        pair.gateway.user("view", "viewer", None).await.api.get("/api/tickets/scopes").await.status,
        200
    );
    let viewer = pair.gateway.user("look", "viewer", None).await;
    let refused = viewer.api.delete("/api/tickets/scopes/shell").await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (403, "access.capability_missing".to_owned())
    );
}

#[tokio::test]
async fn nobody_without_a_certificate_of_ours_is_answered() {
    // TIX-1, AGT-07
    let pair = Reach::start().await;
    let bare = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(
            pair.source.holder.read("ca.pem").as_bytes(),
        )
        .unwrap()])
        .build()
        .unwrap();
    let url = format!("{}/api/tickets/inbox", pair.gateway.machines);
    let none = bare.get(&url).bearer_auth(&pair.gateway.admin.token).send().await;
    assert!(none.is_err() || none.unwrap().status() == 401, "an API token is no certificate");
    let other = TestGateway::start();
    let foreign = Holder::named(&other, "agent:alpha");
    let mixed = Holder::of(
        &pair.gateway,
        &foreign.read("cert.pem"),
        &foreign.read("key.pem"),
        &pair.source.holder.read("ca.pem"),
    );
    assert!(mixed.client().get(&url).send().await.is_err(), "another authority's certificate");
    let certificates = pair.gateway.admin.get("/api/v1/certificates?name=agent:beta").await.ok();
    let id = certificates["items"][0]["id"].as_str().unwrap().to_owned();
    pair.gateway.admin.delete(&format!("/api/v1/certificates/{id}")).await;
    let huge = vec![b' '; 200_000];
    let request = pair.target.request(Method::POST, "/api/tickets/validate").body(huge);
    assert_eq!(request.send().await.unwrap().status(), 401, "before the body is read");
}
