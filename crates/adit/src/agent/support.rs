//! `adit agent support`: a person lets a technician in, once, after a yes.
//!
//! The code brings this machine an identity of its own for this one time; nothing of it is written to disk. Until the person said
//! yes there is no connection that anything could come over.

use std::path::PathBuf;
use std::time::Duration;

use adit_agent::attended::{Attended, Happened};
use adit_agent::keys::{Admission, Enrolment};
use adit_agent::run;
use adit_core::audit::length;
use adit_core::random::{SystemClock, SystemIds};
use adit_domain::policy::Consent;
use adit_domain::support::{Access, Answer};
use adit_domain::{Clock as _, Code, Secret, SupportCode, Timestamp};
use adit_link::dial::BindingRule;
use adit_link::keys::{Keypair, PublicKey};
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::answer::Person;
use super::{
    Refused, Trust, client, hide_token, is_loopback, machine_url, own_options, read_token,
};
use crate::output::escape;
use crate::{log, parent};

/// How much news may wait for the screen; older news is of no use to anybody.
const NEWS: usize = 16;

/// How long the gateway may take to hear that the person ended it; this machine has ended it already.
const STOP_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(super) struct Support {
    /// The code that the technician gave you; it is asked for if you leave it out
    code: Option<String>,
    /// The gateway's address, as the technician or the support page says
    #[arg(long, value_name = "URL", env = "ADIT_URL")]
    gateway: String,
    /// A certificate of the gateway's authority, where the system does not trust it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Come<'a> {
    support_code: String,
    link_key: String,
    hostname: &'a str,
    os: &'static str,
    arch: &'static str,
    version: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    technician: String,
    technician_id: String,
    technician_address: Option<String>,
    access: String,
    length_seconds: u64,
    recorded: bool,
    input_recorded: bool,
    answer_within_seconds: u64,
    machine_id: String,
    agent_key: String,
    session_service_key: String,
    authority_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewAnswer<'a> {
    agent_key: &'a str,
    answer: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    ends_at_ms: Option<i64>,
}

impl Support {
    /// Asks the person, and serves the technician if they agree.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut person = Person::open().context(
            "there is no terminal to ask at, so nobody could agree; run this in a terminal",
        )?;
        let url = gateway_url(&self.gateway)?;
        let code = read_code(self.code.as_deref(), &mut person)?;
        let trust = match &self.ca {
            None => Trust::System,
            Some(path) => {
                Trust::Pem(std::fs::read_to_string(path).context("reading the certificate")?)
            }
        };
        log::start("error", false);
        let runtime = parent::runtime()?;
        let helped = runtime.block_on(async {
            let gateway = Gateway { client: client(&trust, &url)?, url, trust };
            gateway.support(&code, person).await
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        helped
    }
}

/// Reads the code. One that was given on the command line, where everybody on this machine could read it, is taken off it first.
fn read_code(given: Option<&str>, person: &mut Person) -> anyhow::Result<SupportCode> {
    let text = match given {
        None => Secret::new(person.ask("The code that you were given:")?),
        Some(from) if from == "-" || from.starts_with('@') => read_token(from)?,
        Some(code) => return Err(hide_token(code)),
    };
    Ok(text.expose().parse()?)
}

/// Reads the gateway's address as a person types it.
fn gateway_url(typed: &str) -> anyhow::Result<String> {
    let typed = typed.trim().trim_end_matches('/');
    let url = if typed.contains("://") { typed.to_owned() } else { format!("https://{typed}") };
    if !url.starts_with("https://") && !is_loopback(&url) {
        bail!(
            "{url} is not secure: who listens on the way could answer in your place. Use its https address"
        );
    }
    Ok(url)
}

/// The gateway that the technician works with.
struct Gateway {
    client: reqwest::Client,
    url: String,
    trust: Trust,
}

impl Gateway {
    async fn support(&self, code: &SupportCode, mut person: Person) -> anyhow::Result<()> {
        let link_key = Keypair::generate(&SystemIds);
        let asked = self.come(code, &link_key).await?;
        let key = Secret::new(asked.agent_key.clone());
        let access: Access = asked.access.parse()?;
        for line in question(&asked, access, &self.url) {
            person.say(&line);
        }
        let answer = ask(&person, Duration::from_secs(asked.answer_within_seconds)).await?;
        if answer != Answer::Yes {
            person.say(match answer {
                Answer::Silence => "\nNobody answered, which is a no. Nobody was let in.",
                _ => "\nNobody was let in.",
            });
            self.answer(&key, answer).await?;
            return Ok(());
        }
        let until = self.answer(&key, Answer::Yes).await?.ends_at_ms;
        let until = until.context("the gateway does not say until when")?;
        let name = escape(&asked.technician).into_owned();
        person.say(&format!("Yes. Waiting for {name}. You can end it at any time with Ctrl-C."));
        let (happened, news) = mpsc::channel(NEWS);
        let attended = Attended {
            technician: asked.technician_id.parse()?,
            consent: Consent { allows: access.capabilities(), until: Timestamp(until) },
            happened,
        };
        let agent = Agent { enrolment: self.enrolment(asked, link_key)?, attended, news };
        if agent.serve(&name, &mut person).await? {
            // The gateway sees that the machine is gone in any case.
            let _ = tokio::time::timeout(STOP_WITHIN, self.answer(&key, Answer::Stop)).await;
        }
        Ok(())
    }

    async fn come(&self, code: &SupportCode, link_key: &Keypair) -> anyhow::Result<Asked> {
        let uname = rustix::system::uname();
        let come = Come {
            support_code: code.grouped(),
            link_key: STANDARD.encode(link_key.public().0),
            hostname: &uname.nodename().to_string_lossy(),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            version: env!("CARGO_PKG_VERSION"),
        };
        self.post("/api/support", &come).await
    }

    async fn answer(&self, key: &Secret<String>, answer: Answer) -> anyhow::Result<Answered> {
        let answer = NewAnswer { agent_key: key.expose(), answer: answer.as_str() };
        self.post("/api/support/answers", &answer).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let url = &self.url;
        let sent = self.client.post(format!("{url}{path}")).json(body).send().await;
        let answer = sent.with_context(|| format!("{url} cannot be reached"))?;
        if answer.status().is_success() {
            return answer.json().await.context("the gateway's answer cannot be read");
        }
        let wait = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
        let wait: Option<u64> = wait.filter(|_| answer.status().as_u16() == 429);
        let refused: Refused =
            answer.json().await.context("the gateway's answer cannot be read")?;
        let wait = wait.map(|seconds| format!(" Try again in {}.", length(seconds)));
        let (detail, code) = (escape(&refused.detail), escape(&refused.code));
        bail!("{detail}{} ({code})", wait.unwrap_or_default())
    }

    fn enrolment(&self, asked: Asked, link_key: Keypair) -> anyhow::Result<Enrolment> {
        let key = |text: &str| -> anyhow::Result<[u8; 32]> {
            let key = STANDARD.decode(text)?.try_into();
            key.map_err(|_| anyhow::anyhow!("a key of the gateway has another length"))
        };
        Ok(Enrolment {
            machine: asked.machine_id.parse()?,
            url: machine_url(&self.url),
            trust: match &self.trust {
                Trust::Pem(pem) => Some(pem.clone()),
                Trust::System | Trust::OwnChild => None,
            },
            admission: Admission::Key(Secret::new(asked.agent_key)),
            binding: BindingRule::None,
            link_key,
            session_service: PublicKey(key(&asked.session_service_key)?),
            authority: key(&asked.authority_key)?,
        })
    }
}

/// This machine, after a yes.
struct Agent {
    enrolment: Enrolment,
    attended: Attended,
    news: mpsc::Receiver<Happened>,
}

impl Agent {
    /// Serves the technician until either side ends it, or its time is over. Tells whether the person ended it.
    async fn serve(self, name: &str, person: &mut Person) -> anyhow::Result<bool> {
        let Self { enrolment, attended, mut news } = self;
        let stop = CancellationToken::new();
        let mut over =
            std::pin::pin!(tokio::time::sleep(attended.consent.until.since(SystemClock.now())));
        let agent = run::run(enrolment, own_options(None, Some(attended)), stop.clone());
        let mut agent = std::pin::pin!(agent);
        let mut asked = std::pin::pin!(parent::stop_asked(false));
        let mut told = Told::Nothing;
        let mut by_person = false;
        loop {
            tokio::select! {
                biased;
                ended = &mut agent => {
                    ended?;
                    break;
                }
                () = &mut asked, if !stop.is_cancelled() => {
                    by_person = true;
                    stop.cancel();
                }
                () = &mut over, if !stop.is_cancelled() => stop.cancel(),
                Some(happened) = news.recv() => told.tell(happened, name, person),
            }
        }
        while let Ok(happened) = news.try_recv() {
            told.tell(happened, name, person);
        }
        if by_person {
            person.say("You ended it. Nobody has access to this computer any more.");
        } else if told != Told::Ended {
            person.say("Its time is over. Nobody has access to this computer any more.");
        }
        Ok(by_person)
    }
}

/// Asks beside the runtime: a terminal that is read waits. Ctrl-C is a no.
async fn ask(person: &Person, within: Duration) -> anyhow::Result<Answer> {
    let mut person = person.again()?;
    let asking = tokio::task::spawn_blocking(move || person.agree("Allow it? [y/N]", within));
    tokio::select! {
        biased;
        () = parent::stop_asked(false) => Ok(Answer::No),
        answer = asking => Ok(answer?),
    }
}

/// What the person was told last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Connected,
    Opened,
    Lost,
    Ended,
}

impl Told {
    fn tell(&mut self, happened: Happened, name: &str, person: &mut Person) {
        const OVER: &str = "Nobody has access to this computer any more.";
        let (told, line) = match (happened, *self) {
            (Happened::Connected, Self::Lost) => {
                (Self::Connected, "The connection is back.".to_owned())
            }
            (Happened::Ended(Some(Code::SupportStopped)), _)
            | (Happened::Lost | Happened::Over, Self::Ended)
            | (Happened::Connected, _) => return,
            (Happened::Lost, _) => (Self::Lost, "The connection is lost; trying again.".to_owned()),
            (Happened::Opened, _) => (
                Self::Opened,
                format!("{name} has a terminal on this computer now. Ctrl-C ends it."),
            ),
            (Happened::Ended(code), _) => {
                let why = code.map_or("The shell ended.", Code::sentence);
                (Self::Ended, format!("It is over. {why} {OVER}"))
            }
            (Happened::Over, _) => (Self::Ended, format!("{name} ended it. {OVER}")),
        };
        *self = told;
        person.say(&line);
    }
}

/// Says who asks, from where, for what and for how long.
// DESK-20
fn question(asked: &Asked, access: Access, url: &str) -> Vec<String> {
    let user = std::env::var("USER").unwrap_or_else(|_| "the user of this terminal".to_owned());
    let technician = escape(&asked.technician);
    let from = asked.technician_address.as_deref().map_or("an unknown address".into(), escape);
    let may = match access {
        Access::Control => format!("see and type, as you ({})", escape(&user)),
        Access::View => "see what is shown, and not type".to_owned(),
    };
    let recorded = match (asked.recorded, asked.input_recorded) {
        (false, _) => "no",
        (true, false) => "yes, what is shown",
        (true, true) => "yes, what is shown and what is typed",
    };
    vec![
        String::new(),
        format!("{technician} asks for a terminal on this computer."),
        String::new(),
        format!("  From      {from}, through {}", escape(url)),
        format!("  May       {may}"),
        format!("  Longest   {}", length(asked.length_seconds)),
        format!("  Recorded  {recorded}"),
        String::new(),
        "Say yes only if you asked for this help and know who it is.".to_owned(),
        format!("No answer within {} s is a no.", asked.answer_within_seconds),
    ]
}
