//! `[traces]` and the environment's names for the same, read into where spans go.

use adit_core::keys::read_secret;
use adit_domain::Secret;
use anyhow::{Context as _, bail};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::Traces;

/// Where spans are exported.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// The full address: `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: Url,
    /// The share of new traces that are exported.
    pub ratio: f64,
    /// What the gateway calls itself.
    pub service_name: String,
    /// What goes along with each export.
    pub headers: Vec<(String, Secret<String>)>,
}

/// What the gateway calls itself unless told otherwise.
const SERVICE_NAME: &str = "adit";

/// The path of traces below an OTLP/HTTP endpoint (OTLP 1.9 §OTLP/HTTP request).
const PATH: &str = "v1/traces";

impl Traces {
    /// Makes settings of the table and the environment; none where nothing is exported.
    ///
    /// # Errors
    /// When a value is out of its range, or the file of headers cannot be used.
    pub fn settings(&self) -> anyhow::Result<Option<TraceSettings>> {
        self.settings_in(&|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
    }

    fn settings_in(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Option<TraceSettings>> {
        let ratio = match environment("OTEL_TRACES_SAMPLER_ARG") {
            Some(text) => text.trim().parse().with_context(|| {
                format!("OTEL_TRACES_SAMPLER_ARG is `{text}`, which is not a number of 0 to 1")
            })?,
            None => self.sample_ratio.unwrap_or(1.0),
        };
        if !(0.0..=1.0).contains(&ratio) {
            bail!("traces.sample_ratio (OTEL_TRACES_SAMPLER_ARG) is {ratio}; it is 0 to 1");
        }
        let is_off =
            environment("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let base = environment("OTEL_EXPORTER_OTLP_ENDPOINT").or_else(|| self.endpoint.clone());
        let exact = environment("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let text = exact.or_else(|| base.map(|b| format!("{}/{PATH}", b.trim_end_matches('/'))));
        let Some(text) = text.filter(|_| !is_off) else {
            if self.endpoint.is_none() && self.headers_file.is_some() {
                bail!("traces.headers_file is for traces.endpoint, which is not there");
            }
            return Ok(None);
        };
        let endpoint = endpoint(&text)?;
        let headers = self.headers(&endpoint)?;
        let name = environment("OTEL_SERVICE_NAME").or_else(|| self.service_name.clone());
        let service_name = name.unwrap_or_else(|| SERVICE_NAME.to_owned());
        Ok(Some(TraceSettings { endpoint, ratio, service_name, headers }))
    }

    fn headers(&self, endpoint: &Url) -> anyhow::Result<Vec<(String, Secret<String>)>> {
        let Some(path) = &self.headers_file else { return Ok(Vec::new()) };
        let here = matches!(endpoint.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if endpoint.scheme() != "https" && !here {
            bail!(
                "traces.headers_file would go in clear to another host; write traces.endpoint as https://…"
            );
        }
        let text = read_secret(path).context("traces.headers_file")?;
        let headers = text.expose().lines().enumerate().map(|(at, line)| {
            let read = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
            let read = read.filter(|(name, value)| {
                HeaderName::try_from(*name).is_ok() && HeaderValue::try_from(*value).is_ok()
            });
            // The line itself may be a secret.
            let (name, value) = read.with_context(|| {
                format!("traces.headers_file: line {} is not `name: value`", at + 1)
            })?;
            Ok((name.to_owned(), Secret::new(value.to_owned())))
        });
        headers.collect()
    }
}

fn endpoint(text: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse().with_context(|| {
        format!("traces.endpoint `{text}` is no address; write it as http://127.0.0.1:4318")
    })?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        bail!("traces.endpoint `{text}` is no http:// or https:// address");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        bail!(
            "traces.endpoint has a user, a password or a query; what a collector asks for goes into traces.headers_file"
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, environment: &[(&str, &str)]) -> anyhow::Result<Option<TraceSettings>> {
        let traces: Traces = toml::from_str(text)?;
        traces.settings_in(&|name| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_wins_and_nothing_is_exported_by_default() {
        // CMD-40, CMD-42
        assert!(read("", &[]).unwrap().is_none());
        let file = "endpoint = \"http://127.0.0.1:4318/\"\nsample_ratio = 0.5";
        let settings = read(file, &[]).unwrap().unwrap();
        assert_eq!(settings.endpoint.as_str(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!((settings.ratio, settings.service_name.as_str()), (0.5, "adit"));
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example/otlp"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_SERVICE_NAME", "gate"),
        ];
        let settings = read(file, &environment).unwrap().unwrap();
        assert_eq!(settings.endpoint.as_str(), "https://collector.example/otlp/v1/traces");
        assert_eq!((settings.ratio, settings.service_name.as_str()), (0.25, "gate"));
        assert!(read(file, &[("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
    }

    #[test]
    fn a_setting_of_traces_out_of_range_is_refused_by_its_name() {
        // CMD-40, CMD-42
        for (text, told) in [
            ("endpoint = \"127.0.0.1:4318\"", "traces.endpoint"),
            ("endpoint = \"ftp://127.0.0.1\"", "traces.endpoint"),
            ("endpoint = \"https://u:p@collector.example\"", "traces.headers_file"),
            ("sample_ratio = 1.5", "traces.sample_ratio"),
            ("headers_file = \"/nowhere\"", "traces.headers_file"),
            ("endpoint = \"http://collector.example\"\nheaders_file = \"/nowhere\"", "in clear"),
            ("endpont = \"http://127.0.0.1\"", "endpont"),
        ] {
            let refused = read(text, &[]).unwrap_err();
            assert!(format!("{refused:#}").contains(told), "{refused:#}");
        }
        let refused = read("", &[("OTEL_TRACES_SAMPLER_ARG", "all")]).unwrap_err();
        assert!(format!("{refused:#}").contains("OTEL_TRACES_SAMPLER_ARG"), "{refused:#}");
    }
}
