//! Which crate may depend on which: the arrows of ARCHITECTURE.md point down only.

use serde_json::Value;

use super::Violation;

/// A crate, the crates of this repository that it may use, and the libraries that it must not.
struct Layer {
    name: &'static str,
    may: &'static [&'static str],
    never: &'static [&'static str],
}

/// Ground computes: no runtime, no database, no socket.
const IO: &[&str] =
    &["axum", "hyper", "reqwest", "rustix", "sqlx", "tokio", "tokio-tungstenite", "tokio-util"];
/// What speaks a protocol to a peer belongs to planes and edges.
const PROTOCOLS: &[&str] = &["axum", "http", "hyper", "kube", "russh", "sqlx", "tokio-tungstenite"];

/// The root helper is small and has no network: nothing that brings a runtime, a database or a protocol.
const HELPER: &[&str] =
    &["axum", "hyper", "reqwest", "snow", "sqlx", "tokio", "tokio-tungstenite", "tokio-util"];

/// The sandbox has one thread and touches nothing outside: nothing that brings a runtime, a database, a network or cryptography of its own.
const SANDBOX: &[&str] = &[
    "axum",
    "aws-lc-rs",
    "hyper",
    "reqwest",
    "rustls",
    "snow",
    "sqlx",
    "tokio",
    "tokio-tungstenite",
    "tokio-util",
];

const GROUND: &[&str] = &["adit-domain", "adit-wire"];
const MECHANISM_UP: &[&str] = &[
    "adit-domain",
    "adit-wire",
    "adit-session",
    "adit-store",
    "adit-link",
    "adit-bus",
    "adit-template",
];
/// Planes read lists by the store's named methods; what holds SQL is the store alone.
const PLANE: &[&str] = &[
    "adit-domain",
    "adit-wire",
    "adit-session",
    "adit-store",
    "adit-link",
    "adit-template",
    "adit-core",
];
const EDGE: &[&str] = &["adit-domain", "adit-wire", "adit-link"];
const SHIPPED: &[&str] = &[
    "adit-agent",
    "adit-bus",
    "adit-core",
    "adit-domain",
    "adit-helper",
    "adit-http",
    "adit-link",
    "adit-sandbox",
    "adit-sdk",
    "adit-session",
    "adit-store",
    "adit-template",
    "adit-wire",
];
const TESTS: &[&str] = &[
    "adit",
    "adit-agent",
    "adit-bus",
    "adit-core",
    "adit-domain",
    "adit-helper",
    "adit-http",
    "adit-link",
    "adit-sdk",
    "adit-session",
    "adit-store",
    "adit-template",
    "adit-testkit",
    "adit-wire",
];

/// The table of ARCHITECTURE.md. A crate that is not in it may not exist.
const LAYERS: &[Layer] = &[
    Layer { name: "adit-domain", may: &[], never: IO },
    Layer { name: "adit-wire", may: &["adit-domain"], never: IO },
    Layer { name: "adit-session", may: GROUND, never: IO },
    Layer { name: "adit-template", may: &["adit-domain"], never: IO },
    Layer { name: "adit-store", may: GROUND, never: &["axum", "hyper", "reqwest"] },
    Layer { name: "adit-link", may: GROUND, never: &["axum", "sqlx"] },
    Layer { name: "adit-bus", may: GROUND, never: &["axum", "sqlx"] },
    Layer { name: "adit-core", may: MECHANISM_UP, never: PROTOCOLS },
    Layer { name: "adit-http", may: PLANE, never: &["sqlx", "snow"] },
    Layer { name: "adit-agent", may: EDGE, never: &["axum", "hyper", "sqlx"] },
    Layer { name: "adit-helper", may: GROUND, never: HELPER },
    Layer { name: "adit-sandbox", may: GROUND, never: SANDBOX },
    Layer { name: "adit-sdk", may: &["adit-domain", "adit-link"], never: &["axum", "sqlx"] },
    Layer { name: "adit", may: SHIPPED, never: &["sqlx"] },
    Layer { name: "adit-testkit", may: SHIPPED, never: &[] },
    Layer { name: "adit-tests", may: TESTS, never: &[] },
    Layer { name: "adit-bench", may: TESTS, never: &[] },
    Layer { name: "xtask", may: &[], never: &[] },
];

/// Checks every arrow of `cargo metadata`. Tests of a crate may also use `adit-testkit`.
pub fn check(metadata: &Value) -> Vec<Violation> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.flat_map(check_package).collect()
}

fn check_package(package: &Value) -> Vec<Violation> {
    let name = text(&package["name"]);
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        return vec![violation(
            name,
            "this crate has no layer: give it one in xtask/src/tidy/layers.rs.".to_owned(),
        )];
    };
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    dependencies
        .filter_map(|dependency| refuse(layer, dependency))
        .map(|why| violation(name, why))
        .collect()
}

fn refuse(layer: &Layer, dependency: &Value) -> Option<String> {
    let used = text(&dependency["name"]);
    let for_tests = dependency["kind"] == "dev";
    if dependency["path"].is_null() {
        let refused = !for_tests && layer.never.contains(&used);
        return refused.then(|| format!("{used} has no place in this layer."));
    }
    let allowed = layer.may.contains(&used) || (for_tests && used == "adit-testkit");
    (!allowed).then(|| format!("{used} lies above {} or beside it.", layer.name))
}

fn violation(package: &str, sentence: String) -> Violation {
    Violation { path: format!("{package}/Cargo.toml"), line: None, sentence }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(name: &str, dependency: Value) -> Vec<String> {
        let metadata = json!({"packages": [{"name": name, "dependencies": [dependency]}]});
        check(&metadata).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_arrow_that_points_up_is_refused() {
        let found = found(
            "adit-store",
            json!({"name": "adit-core", "kind": null, "path": "/r/crates/adit-core"}),
        );
        assert_eq!(found, ["adit-store/Cargo.toml: adit-core lies above adit-store or beside it."]);
    }

    #[test]
    fn the_agent_never_holds_the_database() {
        for used in ["adit-store", "adit-core"] {
            assert_eq!(
                found("adit-agent", json!({"name": used, "kind": null, "path": "/r"})).len(),
                1
            );
        }
    }

    #[test]
    fn no_parser_of_yaml_stands_on_machines() {
        for name in ["adit-agent", "adit-helper", "adit-sdk"] {
            let parser = json!({"name": "adit-template", "kind": null, "path": "/r"});
            assert_eq!(found(name, parser).len(), 1, "{name}");
        }
    }

    #[test]
    fn the_agent_reaches_the_sandbox_as_a_program_only() {
        let used = json!({"name": "adit-sandbox", "kind": null, "path": "/r"});
        assert_eq!(found("adit-agent", used.clone()).len(), 1);
        assert!(found("adit", used).is_empty());
    }

    #[test]
    fn an_arrow_that_points_down_is_allowed() {
        assert!(
            found("adit-core", json!({"name": "adit-store", "kind": null, "path": "/r"}))
                .is_empty()
        );
    }

    #[test]
    fn ground_has_no_runtime_but_its_tests_may() {
        assert_eq!(
            found("adit-domain", json!({"name": "tokio", "kind": null, "path": null})).len(),
            1
        );
        assert!(
            found("adit-domain", json!({"name": "tokio", "kind": "dev", "path": null})).is_empty()
        );
    }

    #[test]
    fn a_crate_without_a_layer_is_refused() {
        let found = found("adit-extra", json!({"name": "serde", "kind": null, "path": null}));
        assert!(found[0].contains("has no layer"), "{found:?}");
    }
}
