//! Whether a process may do more than it needs, and what to do about it.

use serde::Serialize;

use super::super::State;
use super::files::Rule;
use super::process::{Process, Role};

/// One thing that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How it stands.
    pub state: State,
    /// What was found.
    pub sentence: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Verdict {
    fn new(state: State, sentence: impl Into<String>, mend: &str) -> Self {
        let mend = Some(mend.to_owned()).filter(|mend| !mend.is_empty());
        Self { state, sentence: sentence.into(), mend }
    }
}

/// What a gateway may have: a port below 1024.
const GATEWAY_MAY: &[&str] = &["CAP_NET_BIND_SERVICE"];

/// What the helper may have: owners of certificates, and what a web server's own test needs.
const HELPER_MAY: &[&str] = &["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"];

const AS_A_SERVICE: &str =
    "Run it as the service that `adit unit install` writes, and start it anew.";

/// Judges a process among the others.
pub fn of(process: &Process, all: &[Process]) -> Vec<Verdict> {
    let mut verdicts = match process.role {
        Role::Up => up(process),
        Role::Gateway => gateway(process),
        Role::Agent => agent(process, all),
        Role::Helper => helper(process),
    };
    if process.role != Role::Up {
        verdicts.extend(memory(process));
    }
    verdicts.extend(files(process));
    if !verdicts.iter().any(|verdict| matches!(verdict.state, State::Bad | State::Warning)) {
        verdicts.insert(0, Verdict::new(State::Ok, "It may do what it needs, and no more.", ""));
    }
    verdicts
}

fn up(process: &Process) -> Vec<Verdict> {
    let mend =
        "It is for trying Adit; for good, `adit unit install` gives each an account of its own.";
    let sentence = format!("It starts gateway and agent as one account, {}.", process.user);
    vec![Verdict::new(State::Warning, sentence, mend)]
}

fn gateway(process: &Process) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if process.uid == 0 {
        let sentence = "It is root: whoever finds a fault in it has the machine.";
        verdicts.push(Verdict::new(State::Bad, sentence, AS_A_SERVICE));
    } else {
        verdicts.extend(too_much(process, GATEWAY_MAY));
    }
    verdicts.extend(gains(process, State::Warning));
    verdicts
}

fn agent(process: &Process, all: &[Process]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if process.uid == 0 {
        let sentence = "It is root, as sshd is, so that its shells can be of any account; whoever may open one as root has the machine.";
        let mend = "Where shells of one account are enough: `adit unit install --shells own`.";
        verdicts.push(Verdict::new(State::Warning, sentence, mend));
    } else {
        verdicts.extend(too_much(process, &[]));
        let sentence = format!(
            "Its shells are of its own account, {}: whoever has one can read this machine's keys.",
            process.user
        );
        verdicts.push(Verdict::new(
            State::Warning,
            sentence,
            "Give it to people who may know them, or let it be root, with `--shells any`.",
        ));
    }
    let shared = all.iter().find(|other| other.role == Role::Gateway && other.uid == process.uid);
    if let Some(gateway) = shared.filter(|_| process.uid != 0) {
        let sentence = format!(
            "Gateway {} is of the same account: a shell here can read the gateway's keys and database.",
            gateway.pid
        );
        verdicts.push(Verdict::new(State::Warning, sentence, AS_A_SERVICE));
    }
    verdicts
}

fn helper(process: &Process) -> Vec<Verdict> {
    let mut verdicts = too_much(process, HELPER_MAY);
    verdicts.extend(gains(process, State::Bad));
    let outside = process.listens.iter().flatten().find(|listens| !listens.starts_with('/'));
    if let Some(outside) = outside {
        let sentence = format!("It listens on {outside}, where it should be a Unix socket alone.");
        verdicts.push(Verdict::new(State::Bad, sentence, AS_A_SERVICE));
    }
    verdicts
}

/// Capabilities that a process has beyond what its role needs.
fn too_much(process: &Process, may: &[&str]) -> Vec<Verdict> {
    let more: Vec<&str> =
        process.effective.iter().map(String::as_str).filter(|name| !may.contains(name)).collect();
    if more.is_empty() {
        return Vec::new();
    }
    let sentence = match more.as_slice() {
        [first, _, _, _, ..] => {
            format!("It has {} capabilities that it does not need, such as {first}.", more.len())
        }
        few => format!("It has {}, which it does not need.", few.join(", ")),
    };
    vec![Verdict::new(State::Bad, sentence, AS_A_SERVICE)]
}

/// What a process could gain by starting a program.
fn gains(process: &Process, state: State) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if !process.no_new_privileges {
        let sentence = "A program that it starts can gain rights (setuid): NoNewPrivileges is off.";
        verdicts.push(Verdict::new(state, sentence, AS_A_SERVICE));
    }
    if !process.seccomp {
        let sentence = "Every system call is open to it: none is filtered.";
        verdicts.push(Verdict::new(State::Warning, sentence, AS_A_SERVICE));
    }
    verdicts
}

fn memory(process: &Process) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if process.core_files && process.memory_private != Some(true) {
        let sentence = "When it dies, a core file can hold its keys.";
        let mend = "Set LimitCORE=0, as the units of `adit unit install` do.";
        verdicts.push(Verdict::new(State::Warning, sentence, mend));
    }
    if process.listens.is_none() {
        let sentence = "Where it listens cannot be seen.";
        verdicts.push(Verdict::new(State::Unknown, sentence, "Ask as root."));
    }
    verdicts
}

fn files(process: &Process) -> Vec<Verdict> {
    let Some(files) = &process.files else { return Vec::new() };
    let folder = files.folder.display();
    let mut verdicts = Vec::new();
    match &files.mode {
        None => {
            let sentence = format!("Its folder {folder} cannot be looked at.");
            verdicts.push(Verdict::new(State::Unknown, sentence, "Ask as root."));
        }
        Some(mode) if files.is_open => {
            let sentence = match files.open.as_slice() {
                [] => format!("Others can get into its folder {folder} ({mode})."),
                open => format!(
                    "Others can get into its folder {folder} ({mode}) and to {}.",
                    open.join(", ")
                ),
            };
            let mend = format!("`chmod 700 {folder}`.");
            // What is private in an open folder is still private.
            let state = if files.open.is_empty() { State::Warning } else { State::Bad };
            verdicts.push(Verdict::new(state, sentence, &mend));
        }
        Some(_) => {}
    }
    if let Some(owner) = files.foreign_owner {
        let sentence = format!(
            "Its folder {folder} belongs to account {owner}, which can change what is in it."
        );
        let mend = format!("`chown -R {} {folder}`.", process.user);
        verdicts.push(Verdict::new(State::Bad, sentence, &mend));
    }
    verdicts
}

/// Judges what sudo lets Adit's accounts do: it should be nothing.
pub fn of_sudoers(rules: &[Rule]) -> Vec<Verdict> {
    let judge = |rule: &Rule| {
        let path = rule.path.display();
        let why = match rule.text.contains('*') {
            true => "; a `*` there matches spaces and slashes, so it is any option and any path",
            false => "",
        };
        let sentence = format!("{path} lets one of Adit's accounts be root: `{}`{why}.", rule.text);
        let mend = "Remove the line: what needs root is asked of `adit helper`.";
        Verdict::new(State::Bad, sentence, mend)
    };
    rules.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::files::Files;
    use super::*;

    fn process(role: Role, uid: u32) -> Process {
        Process {
            role,
            pid: 7,
            uid,
            user: "adit-x".to_owned(),
            groups: Vec::new(),
            effective: Vec::new(),
            bounding: Vec::new(),
            no_new_privileges: true,
            seccomp: true,
            memory_private: (uid != 0).then_some(true),
            core_files: false,
            listens: Some(Vec::new()),
            files: None,
        }
    }

    fn states(process: &Process) -> Vec<State> {
        of(process, std::slice::from_ref(process))
            .into_iter()
            .map(|verdict| verdict.state)
            .collect()
    }

    #[test]
    fn a_gateway_without_rights_is_good_and_a_root_one_is_too_much() {
        // TIX-72, SUP-03
        assert_eq!(states(&process(Role::Gateway, 998)), [State::Ok]);
        assert_eq!(states(&process(Role::Gateway, 0)), [State::Bad]);
        let mut low = process(Role::Gateway, 998);
        low.effective = vec!["CAP_NET_BIND_SERVICE".to_owned()];
        assert_eq!(states(&low), [State::Ok]);
        low.effective.push("CAP_SYS_ADMIN".to_owned());
        assert_eq!(states(&low), [State::Bad]);
        let mut loose = process(Role::Gateway, 998);
        loose.no_new_privileges = false;
        assert_eq!(states(&loose), [State::Warning]);
    }

    #[test]
    fn a_helper_is_root_with_few_capabilities_on_a_unix_socket() {
        // TIX-72
        let mut helper = process(Role::Helper, 0);
        helper.effective = vec!["CAP_CHOWN".to_owned()];
        helper.listens = Some(vec!["/run/adit-helper.sock".to_owned()]);
        assert_eq!(states(&helper), [State::Ok]);
        helper.listens = Some(vec!["0.0.0.0:1".to_owned()]);
        assert_eq!(states(&helper), [State::Bad]);
        let mut loose = process(Role::Helper, 0);
        loose.no_new_privileges = false;
        assert_eq!(states(&loose), [State::Bad]);
    }

    #[test]
    fn an_agent_that_shares_its_account_with_a_gateway_is_told_of() {
        let (gateway, agent) = (process(Role::Gateway, 998), process(Role::Agent, 998));
        let told = of(&agent, &[gateway, agent.clone()]);
        assert!(told.iter().any(|verdict| verdict.sentence.contains("same account")), "{told:?}");
    }

    #[test]
    fn files_that_others_can_read_are_too_much() {
        let mut gateway = process(Role::Gateway, 998);
        let files = Files {
            folder: PathBuf::from("/d"),
            mode: Some("755".to_owned()),
            is_open: true,
            foreign_owner: None,
            open: vec!["ca.key (644)".to_owned()],
        };
        gateway.files = Some(files.clone());
        assert_eq!(states(&gateway), [State::Bad]);
        gateway.files = Some(Files { is_open: false, mode: Some("700".to_owned()), ..files });
        assert_eq!(states(&gateway), [State::Ok], "a private folder keeps what is in it private");
    }

    #[test]
    fn any_rule_of_sudo_for_adit_is_too_much() {
        // SUP-03
        let rule = Rule {
            path: PathBuf::from("/etc/sudoers.d/x"),
            text: "adit ALL=/usr/bin/certbot *".to_owned(),
        };
        let told = of_sudoers(&[rule]);
        assert!(told[0].state == State::Bad && told[0].sentence.contains("slashes"), "{told:?}");
        assert!(of_sudoers(&[]).is_empty());
    }
}
