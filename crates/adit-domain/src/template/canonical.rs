//! The one text of everything about a template that matters to what runs.

use std::fmt::{Display, Write};

use super::command::{Argument, Part};
use super::parameter::{Bounds, Kind, Parameter};
use super::{Image, Limits, Template};
use crate::policy::selection::TargetKind;
use crate::policy::{Matcher, Selection};

/// Begins the text, so that a later form of it never has the digest of this one.
const VERSION: &str = "adit template 1";

impl Template {
    /// Writes everything that matters to what runs, where and for whom; the SHA-256 of it names this version of the template.
    ///
    /// What only people read, descriptions and the category, is left out. Shape: lines `key length:value`, so that no value looks like a line.
    pub fn canonical(&self) -> String {
        let mut text = Lines(String::new());
        text.line("version", VERSION);
        text.line("name", self.name());
        text.line("program", self.command().program());
        self.command().arguments().iter().for_each(|argument| text.argument(argument));
        self.parameters().iter().for_each(|parameter| text.parameter(parameter));
        self.required_scopes().iter().for_each(|scope| text.line("scope", scope));
        text.limits(self.limits());
        self.reads().iter().for_each(|path| text.line("reads", path));
        // Absent where it is not so, as `reads` is: templates from before these keys keep their digests.
        text.maybe("sees_processes", self.sees_processes().then_some("true"));
        text.selection(self.targets());
        text.maybe("per_template", self.concurrency().per_template);
        text.maybe("per_user", self.concurrency().per_user);
        text.line("others", self.approval().others);
        self.approval().by.iter().for_each(|approver| text.line("by", approver));
        text.line("idempotent", self.is_idempotent());
        self.layers().iter().for_each(|layer| text.line("layer", layer));
        text.maybe("image", self.sandbox_image().map(Image::as_str));
        text.0
    }
}

struct Lines(String);

impl Lines {
    fn line(&mut self, key: &str, value: impl Display) {
        let value = value.to_string();
        writeln!(self.0, "{key} {}:{value}", value.len()).expect("a string takes every text");
    }

    fn maybe(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(key, value);
        }
    }

    fn argument(&mut self, argument: &Argument) {
        self.line("argument", argument.parts().len());
        for part in argument.parts() {
            match part {
                Part::Literal(text) => self.line("literal", text),
                Part::Placeholder(name) => self.line("placeholder", name),
            }
        }
    }

    fn parameter(&mut self, parameter: &Parameter) {
        self.line("parameter", parameter.name());
        self.line("type", parameter.kind_name());
        self.line("required", parameter.is_required());
        self.maybe("default", parameter.default());
        self.bounds("length", parameter.length());
        self.maybe("pattern", parameter.pattern());
        parameter.allowed_values().iter().for_each(|value| self.line("allowed", value));
        match parameter.kind() {
            Kind::Integer(bounds) => self.bounds("value", bounds),
            Kind::Float(bounds) => self.bounds("value", bounds),
            Kind::Path(rules) => {
                rules.allowed.iter().for_each(|path| self.line("allowed_path", path));
                rules.forbidden.iter().for_each(|path| self.line("forbidden_path", path));
            }
            Kind::Text | Kind::Bool | Kind::Enum => {}
        }
    }

    fn bounds<T: Display>(&mut self, of: &str, bounds: &Bounds<T>) {
        self.maybe(&format!("min_{of}"), bounds.min.as_ref());
        self.maybe(&format!("max_{of}"), bounds.max.as_ref());
    }

    fn limits(&mut self, limits: &Limits) {
        let Limits {
            timeout_s,
            memory_bytes,
            cpu_millis,
            allow_network,
            allow_file_write,
            output_bytes,
        } = limits;
        self.line("timeout_s", timeout_s);
        self.line("memory_bytes", memory_bytes);
        self.line("cpu_millis", cpu_millis);
        self.line("allow_network", allow_network);
        self.line("allow_file_write", allow_file_write);
        self.line("output_bytes", output_bytes);
    }

    fn selection(&mut self, selection: &Selection) {
        match selection {
            Selection::All => self.line("targets", "all"),
            Selection::Machines(list) => list.iter().for_each(|id| self.line("machine", id)),
            Selection::Matching(Matcher { kind, label, tags, team }) => {
                self.line("targets", "matching");
                self.maybe("kind", kind.map(TargetKind::as_str));
                self.maybe("label", label.as_ref());
                tags.iter().for_each(|(key, value)| {
                    self.line("tag", key);
                    self.line("is", value);
                });
                self.maybe("team", team.as_ref().map(|(id, _)| id));
            }
        }
    }
}
