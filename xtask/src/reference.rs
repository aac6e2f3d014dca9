//! `docs/configuration.md`, written from the code that reads the configuration.
//!
//! Keys and their meaning are the fields of `crates/adit/src/config.rs` and their comments; defaults are those of
//! `Settings::new` in `crates/adit-core/src/settings.rs` and of `OAuthSettings` beside it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use quote::ToTokens as _;
use syn::{Expr, ExprLit, Fields, Item, Lit, Meta};

/// What is written.
pub const PAGE: &str = "docs/configuration.md";

const CONFIG: &str = "crates/adit/src/config.rs";
const SETTINGS: &str = "crates/adit-core/src/settings.rs";
const SERVE: &str = "crates/adit/src/serve.rs";
const OAUTH: &str = "crates/adit-core/src/oauth/settings.rs";
const DOMAIN: &str = "crates/adit-domain/src/session.rs";

/// The tables of the file, in its order: what stands in brackets and the type that reads it.
const TABLES: &[(&str, &str)] = &[
    ("", "Config"),
    ("tls", "Tls"),
    ("acme", "Acme"),
    ("database", "Database"),
    ("session", "Session"),
    ("recording", "Recording"),
    ("oauth", "OAuth"),
    ("sign_in", "SignIn"),
    ("sign_in.provider", "Provider"),
    ("access", "Access"),
    ("oauth.trust", "Trust"),
    ("bus", "Bus"),
    ("traces", "Traces"),
];

/// The tables of which there may be many.
const MANY: &[&str] = &["sign_in.provider"];

/// The setting, or the constant of the program, that holds a key's default. Keys that are not here have none.
const DEFAULTS: &[(&str, &str)] = &[
    ("listen", "LISTEN"),
    ("machines_listen", "MACHINES_LISTEN"),
    ("connections_per_address", "connections_per_address"),
    ("session.expiry_seconds", "token_life"),
    ("session.rate_limit_tokens", "rate_tokens"),
    ("session.rate_limit_burst", "rate_burst"),
    ("session.clock_skew_tolerance", "clock_skew"),
    ("session.nonce_history_limit", "nonce_history"),
    ("session.max_length_seconds", "max_length"),
    ("session.grace_seconds", "grace"),
    ("session.per_user", "sessions_per_user"),
    ("session.viewers_per_user", "viewers_per_user"),
    ("session.total", "sessions_total"),
    ("recording.mode", "recording"),
    ("recording.strict", "recording_strict"),
    ("oauth.access_token_seconds", "access_life"),
    ("oauth.refresh_token_seconds", "refresh_life"),
    ("oauth.key_seconds", "key_life"),
    ("oauth.key_lead_seconds", "key_lead"),
    ("oauth.secret_grace_seconds", "secret_grace"),
    ("sign_in.argon2_memory_kib", "memory_kib"),
    ("sign_in.argon2_passes", "passes"),
    ("sign_in.argon2_lanes", "lanes"),
    ("sign_in.passwords_at_once", "passwords_at_once"),
];

const HEAD: &str = "\
# Configuration

`adit serve --config FILE` reads this file; `adit up` reads `adit.toml` in its folder where there is one. It is TOML. Every key
may be left out; a dash means that no value stands in for it then. A key that is not known is an error. Where a line names a
variable of the environment, that variable wins.

This page is written by `cargo xtask reference` from the code that reads the file.
";

/// The page as the code of a repository has it.
///
/// # Errors
/// A file is missing or is not what this expects.
pub fn page(root: &Path) -> Result<String> {
    let config = Code::read(root, CONFIG)?;
    let settings = Code::read(root, SETTINGS)?;
    let constants = [Code::read(root, SERVE)?, Code::read(root, DOMAIN)?, Code::read(root, OAUTH)?];
    let mut page = HEAD.to_owned();
    for (table, name) in TABLES {
        let mut rows = Vec::new();
        for (key, meaning) in config.fields(name)? {
            let path = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
            if TABLES.iter().any(|(table, _)| *table == path) {
                continue;
            }
            let default = match DEFAULTS.iter().find(|(key, _)| *key == path) {
                Some((_, field)) => format!("`{}`", default(&settings, &constants, field)?),
                None => "–".to_owned(),
            };
            rows.push(format!("| `{key}` | {default} | {meaning} |\n"));
        }
        // A table that only holds tables has no keys to tell of.
        if !rows.is_empty() {
            let heading = heading(table);
            write!(page, "\n## {heading}\n\n| key | default | meaning |\n| --- | --- | --- |\n")?;
            page.extend(rows);
        }
    }
    Ok(page)
}

fn heading(table: &str) -> String {
    match table {
        "" => "Top level".to_owned(),
        table if MANY.contains(&table) => format!("`[[{table}]]`"),
        table => format!("`[{table}]`"),
    }
}

/// Writes the page.
pub fn run(root: &Path) -> Result<()> {
    std::fs::write(root.join(PAGE), page(root)?).with_context(|| format!("writing {PAGE}"))
}

/// What `Settings::new` puts into a field, or what a constant is, as it is written in the file.
fn default(settings: &Code, constants: &[Code], name: &str) -> Result<String> {
    let constant = |name: &str| constants.iter().find_map(|code| code.constant(name));
    if let Some(value) = constant(name) {
        return plain(value);
    }
    let initial = settings.initial(name);
    let initial = initial.or_else(|| constants.iter().find_map(|code| code.initial(name)));
    let value = initial.with_context(|| format!("{SETTINGS} sets no `{name}`"))?;
    let Expr::Path(path) = value else { return plain(value) };
    let name = path.path.segments.last().context("a path has a name")?.ident.to_string();
    constant(&name).map_or_else(|| Ok(name.to_lowercase()), plain)
}

/// A literal, a product of literals, or the seconds of a duration, without Rust around it.
fn plain(value: &Expr) -> Result<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => Ok(number.base10_digits().to_owned()),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.value()),
        Expr::Lit(ExprLit { lit: Lit::Bool(truth), .. }) => Ok(truth.value.to_string()),
        Expr::Binary(product) => {
            let factors = [plain(&product.left)?, plain(&product.right)?];
            let [left, right] = factors.map(|factor| factor.parse::<u64>());
            Ok((left? * right?).to_string())
        }
        Expr::Call(call) if call.func.to_token_stream().to_string() == "Duration :: from_secs" => {
            plain(call.args.first().context("a duration has a length")?)
        }
        other => bail!("`{}` is no default that can be shown", other.to_token_stream()),
    }
}

/// A Rust file.
struct Code(syn::File);

impl Code {
    fn read(root: &Path, path: &str) -> Result<Self> {
        let text =
            std::fs::read_to_string(root.join(path)).with_context(|| format!("reading {path}"))?;
        Self::parse(&text).with_context(|| format!("reading {path}"))
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(Self(syn::parse_file(text)?))
    }

    /// The fields of a type, each with its comment in one line.
    fn fields(&self, name: &str) -> Result<Vec<(String, String)>> {
        let found = self.0.items.iter().find_map(|item| match item {
            Item::Struct(item) if item.ident == name => Some(&item.fields),
            _ => None,
        });
        let Some(Fields::Named(fields)) = found else { bail!("there is no type `{name}`") };
        let named =
            fields.named.iter().filter_map(|field| Some((field.ident.as_ref()?, &field.attrs)));
        Ok(named.map(|(key, comment)| (key.to_string(), text(comment))).collect())
    }

    /// What a struct literal in the file puts into a field.
    fn initial(&self, field: &str) -> Option<&Expr> {
        struct Find<'a, 'b>(&'b str, Option<&'a Expr>);
        impl<'a> syn::visit::Visit<'a> for Find<'a, '_> {
            fn visit_field_value(&mut self, value: &'a syn::FieldValue) {
                if matches!(&value.member, syn::Member::Named(name) if name == self.0) {
                    self.1 = Some(&value.expr);
                }
            }
        }
        let mut find = Find(field, None);
        syn::visit::Visit::visit_file(&mut find, &self.0);
        find.1
    }

    fn constant(&self, name: &str) -> Option<&Expr> {
        self.0.items.iter().find_map(|item| match item {
            Item::Const(item) if item.ident == name => Some(&*item.expr),
            _ => None,
        })
    }
}

/// The comment of a field in one line.
fn text(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn the_page_is_what_the_code_says() {
        let root = Workspace::find().expect("the repository").root;
        let written = std::fs::read_to_string(root.join(PAGE)).expect("the page is there");
        assert_eq!(written, page(&root).expect("the code is read"), "run `cargo xtask reference`");
    }

    #[test]
    fn a_comment_of_two_lines_is_one_line() {
        let code =
            Code::parse("struct A {\n/// One\n/// two | three.\nb: u8,\n}").expect("it is Rust");
        assert_eq!(
            code.fields("A").expect("A is there"),
            [("b".to_owned(), "One two \\| three.".to_owned())]
        );
    }

    #[test]
    fn defaults_are_shown_without_rust() {
        let settings = Code::parse(
            "fn new() -> S { S { a: Duration::from_secs(2 * 60), b: 10_000, c: Mode::Output, d: domain::LENGTH } }",
        );
        let domain =
            Code::parse("const LENGTH: Duration = Duration::from_secs(7);").expect("it is Rust");
        let (settings, domain) = (settings.expect("it is Rust"), [domain]);
        let shown = |field| default(&settings, &domain, field).expect("it has a default");
        assert_eq!(["a", "b", "c", "d"].map(shown), ["120", "10000", "output", "7"]);
    }
}
