//! What a job of a template may use and see, where it runs and who must agree, in a file.

use adit_domain::policy::{Matcher, Selection};
use adit_domain::template::limits::{
    read_concurrency, read_cpu, read_memory, read_others, read_output, read_timeout,
};
use adit_domain::template::{
    Approval, Approver, BadTemplate, Concurrency, Draft, Image, Layer, Limits, MAX_READS, SeenPath,
};

use crate::fields::{Faults, Fields, flag, parse, parse_list, text};
use crate::yaml::{Content, Node};

/// Everything that is read here.
pub(crate) struct Read {
    limits: Limits,
    reads: Vec<SeenPath>,
    sees_processes: bool,
    targets: Selection,
    concurrency: Concurrency,
    approval: Approval,
    idempotent: bool,
    layers: Vec<Layer>,
    sandbox_image: Option<Image>,
}

impl Read {
    /// Puts it into a draft.
    pub fn write(self, draft: &mut Draft) {
        draft.limits = self.limits;
        draft.reads = self.reads;
        draft.sees_processes = self.sees_processes;
        draft.targets = self.targets;
        draft.concurrency = self.concurrency;
        draft.approval = self.approval;
        draft.idempotent = self.idempotent;
        draft.layers = self.layers;
        draft.sandbox_image = self.sandbox_image;
    }
}

/// Reads the keys; those of the original server stand in the template or under `permissions`.
pub(crate) fn read<'a>(
    top: &mut Fields<'a>,
    permissions: &mut Fields<'a>,
    faults: &mut Faults,
) -> Read {
    let mut both = Both { top, permissions };
    let limits = read_limits(&mut both, faults);
    let (reads, processes) = (both.take("reads"), both.take("sees_processes"));
    let reads = agree(&reads, read_reads, faults).unwrap_or_default();
    let sees_processes = agree(&processes, flag, faults).unwrap_or_default();
    let image = both.take("sandbox_image");
    let sandbox_image = agree(&image, |node, faults| parse(node, str::parse, faults), faults);
    let targets = top.take("targets");
    let approval = top.take("approval");
    Read {
        limits,
        reads,
        sees_processes,
        sandbox_image,
        targets: targets.map_or(Selection::All, |node| read_targets(node, faults)),
        concurrency: read_concurrencies(top, faults),
        approval: approval.map(|node| read_approval(node, faults)).unwrap_or_default(),
        idempotent: top.take("idempotent").and_then(|node| flag(node, faults)).unwrap_or_default(),
        layers: top
            .take("layers")
            .map(|node| parse_list(node, str::parse, faults))
            .unwrap_or_default(),
    }
}

/// A template and its `permissions`.
struct Both<'a, 'b> {
    top: &'b mut Fields<'a>,
    permissions: &'b mut Fields<'a>,
}

impl<'a> Both<'a, '_> {
    fn take(&mut self, key: &'static str) -> Vec<&'a Node> {
        self.top.take(key).into_iter().chain(self.permissions.take(key)).collect()
    }
}

fn read_limits(both: &mut Both<'_, '_>, faults: &mut Faults) -> Limits {
    let defaults = Limits::default();
    let times = [both.take("timeout"), both.take("max_execution_time")].concat();
    let (memory, cpu) = (both.take("memory_limit"), both.take("cpu_limit"));
    let (network, write) = (both.take("allow_network"), both.take("allow_file_write"));
    let output = both.top.take("output");
    Limits {
        timeout_s: agree(&times, |node, faults| parse(node, read_timeout, faults), faults)
            .unwrap_or(defaults.timeout_s),
        memory_bytes: agree(&memory, |node, faults| parse(node, read_memory, faults), faults)
            .unwrap_or(defaults.memory_bytes),
        cpu_millis: agree(&cpu, |node, faults| parse(node, read_cpu, faults), faults)
            .unwrap_or(defaults.cpu_millis),
        allow_network: agree(&network, flag, faults).unwrap_or(defaults.allow_network),
        allow_file_write: agree(&write, flag, faults).unwrap_or(defaults.allow_file_write),
        output_bytes: output
            .and_then(|node| read_max_size(node, faults))
            .unwrap_or(defaults.output_bytes),
    }
}

/// Reads what may stand in several places, where all must say the same.
fn agree<T: PartialEq>(
    nodes: &[&Node],
    read: impl Fn(&Node, &mut Faults) -> Option<T>,
    faults: &mut Faults,
) -> Option<T> {
    let (first, others) = nodes.split_first()?;
    let value = read(first, faults)?;
    for other in others {
        if read(other, faults).is_some_and(|second| second != value) {
            let line = first.at.line;
            faults.note(other.at, format!("this says something else than line {line}: keep one"));
        }
    }
    Some(value)
}

/// Reads what jobs see; of too many only as many as there may be, so that one fault is told once.
fn read_reads(node: &Node, faults: &mut Faults) -> Option<Vec<SeenPath>> {
    let mut reads: Vec<SeenPath> = parse_list(node, str::parse, faults);
    if reads.len() > MAX_READS {
        faults.note(node.at, BadTemplate::TooManyReads);
        reads.truncate(MAX_READS);
    }
    Some(reads)
}

fn read_max_size(node: &Node, faults: &mut Faults) -> Option<u64> {
    let mut fields = Fields::open(node, "`output`", faults);
    let size = fields.take("max_size");
    fields.finish(faults);
    size.and_then(|node| parse(node, read_output, faults))
}

fn read_concurrencies(top: &mut Fields<'_>, faults: &mut Faults) -> Concurrency {
    let Some(node) = top.take("concurrency") else { return Concurrency::default() };
    let mut fields = Fields::open(node, "`concurrency`", faults);
    let (template, user) = (fields.take("per_template"), fields.take("per_user"));
    fields.finish(faults);
    Concurrency {
        per_template: template.and_then(|node| parse(node, read_concurrency, faults)),
        per_user: user.and_then(|node| parse(node, read_concurrency, faults)),
    }
}

fn read_approval(node: &Node, faults: &mut Faults) -> Approval {
    if let Content::Scalar { .. } = node.content {
        let others = parse(node, read_others, faults).unwrap_or_default();
        return Approval { others, by: Vec::new() };
    }
    let mut fields = Fields::open(node, "`approval`", faults);
    let (others, by) = (fields.take("others"), fields.take("by"));
    fields.finish(faults);
    if others.is_none() {
        faults.note(node.at, "`approval` says in `others` how many consent: 0, 1 or 2");
    }
    let approval = Approval {
        others: others.and_then(|node| parse(node, read_others, faults)).unwrap_or_default(),
        by: by.map(|node| parse_list(node, str::parse, faults)).unwrap_or_default(),
    };
    let are_people = approval.by.iter().all(|one| matches!(one, Approver::Principal(_)));
    if let Some(Node { content: Content::List(named), .. }) = by
        && are_people
        && named.len() < usize::from(approval.others)
    {
        faults.note(node.at, "fewer are named in `by` than must consent");
    }
    approval
}

fn read_targets(node: &Node, faults: &mut Faults) -> Selection {
    if matches!(&node.content, Content::Scalar { text, .. } if text == "all") {
        return Selection::All;
    }
    let mut fields = Fields::open(node, "`targets`", faults);
    let (label, tags) = (fields.take("label"), fields.take("tags"));
    fields.finish(faults);
    let matcher = Matcher {
        label: label.and_then(|node| parse(node, str::parse, faults)),
        tags: tags.map(|node| read_tags(node, faults)).unwrap_or_default(),
        ..Matcher::default()
    };
    if label.is_none() && tags.is_none() {
        faults.note(node.at, "`targets` says `all`, or what machines are like: `label` or `tags`");
    }
    Selection::Matching(matcher)
}

/// The most tags of a machine.
const MAX_TAGS: usize = 32;

/// The longest key or value of a tag, in characters.
const MAX_TAG_CHARS: usize = 64;

fn read_tags(node: &Node, faults: &mut Faults) -> Vec<(String, String)> {
    let Content::Map(entries) = &node.content else {
        faults.note(node.at, "`tags` is a map of tags and their values");
        return Vec::new();
    };
    if entries.is_empty() || entries.len() > MAX_TAGS {
        faults.note(node.at, "1 to 32 tags are listed");
    }
    let read = |(key, node): &(crate::yaml::Key, Node)| {
        let value = text(node, faults)?;
        if !(is_tag(&key.text) && is_tag(value)) {
            faults.note(key.at, BAD_TAG);
        }
        Some((key.text.clone(), value.to_owned()))
    };
    entries.iter().filter_map(read).collect()
}

const BAD_TAG: &str = "a tag and its value are each 1 to 64 letters, digits and . _ - /";

fn is_tag(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    !text.is_empty() && text.chars().count() <= MAX_TAG_CHARS && text.chars().all(plain)
}
