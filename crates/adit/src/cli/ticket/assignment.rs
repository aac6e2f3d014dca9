//! Who may be let in to what.

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::super::client::{Client, read_all};
use super::super::failure::Failure;
use super::scope::Registry;
use crate::output::Output;

/// Who, and to what.
#[derive(Args, Debug)]
pub struct Assign {
    /// The machine that is let in: its label, or plugin-agent:LABEL:NAME
    target: String,
    /// The machine that offers
    #[arg(long = "to", value_name = "LABEL", required_unless_present = "instance")]
    source: Option<String>,
    /// The capability, where that machine offers more than one
    #[arg(long = "for", value_name = "CAPABILITY", requires = "source")]
    capability: Option<String>,
    /// The instance, as scope:id of `adit ticket instances`
    #[arg(long, value_name = "SCOPE:ID", conflicts_with = "source")]
    instance: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    scope: String,
    instance_scope: String,
    agent_label: String,
}

impl Assign {
    pub(super) async fn add(self, client: &Client, output: Output) -> Result<(), Failure> {
        let scope = self.find(client).await?;
        let body = json!({ "agentLabel": self.target, "instanceScope": scope });
        let value = client.create(&["assignments"], &body).await?;
        let capability =
            scope.rsplit_once(':').map_or(scope.as_str(), |(capability, _)| capability);
        let sentence = format!(
            "{0} may be let in. Use it there with `adit ticket use {capability} --listen 127.0.0.1:2222`.",
            self.target
        );
        Ok(output.done(&value, &sentence)?)
    }

    pub(super) async fn remove(self, client: &Client, output: Output) -> Result<(), Failure> {
        let scope = self.find(client).await?;
        let value = client.remove(&["assignments", &self.target, &scope]).await?;
        Ok(output.done(&value, &format!("{} is let in no more.", self.target))?)
    }

    /// Finds the instance that is meant.
    async fn find(&self, client: &Client) -> Result<String, Failure> {
        if let Some(instance) = &self.instance {
            return Ok(instance.clone());
        }
        let source = self.source.clone().unwrap_or_default();
        let registry: Registry = client.read(&["scopes"], &[]).await?;
        let mut fit: Vec<Listed> = read_all(&registry.instances)?;
        fit.retain(|one| {
            one.agent_label == source
                && self.capability.as_ref().is_none_or(|capability| one.scope == *capability)
        });
        match &fit[..] {
            [one] => Ok(one.instance_scope.clone()),
            [] => Err(Failure::Usage(format!(
                "{source} offers nothing like that; run `adit ticket offer` there, and `adit ticket instances` here"
            ))),
            _ => Err(Failure::Usage(format!(
                "{source} offers more than one thing; say which with --for"
            ))),
        }
    }
}
