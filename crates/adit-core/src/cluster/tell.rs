//! What other gateways are told without asking.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adit_bus::{Driver, Message, To};
use adit_domain::{EndReason, MachineId, SessionId, TenantId};
use adit_wire::bus::v1 as pb;
use adit_wire::bus::v1::word::Word;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::Gateway;

/// How many messages of others may wait; one more is dropped, and the look at the database finds what it said.
const HEARD: usize = 1024;

/// The shortest time between two words about changes: a busy gateway says each kind of change twenty times a second at most.
const SAY_EVERY: Duration = Duration::from_millis(50);

/// What a machine said of a session.
pub(crate) enum OfMachine {
    /// It does not open it.
    Refused(adit_domain::Code),
    /// It is over.
    Ended(EndReason),
}

impl Gateway {
    /// Begins to listen to other gateways and to tell them what changes here.
    pub(crate) fn join_bus(self: &Arc<Self>, driver: Driver) {
        let (to_here, heard) = mpsc::channel::<Message>(HEARD);
        let driving = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = driving.tasks.ending() => {}
                never = driver.run(to_here) => match never {},
            }
        });
        let hearing = Arc::clone(self);
        self.tasks.spawn(async move { hearing.hear_others(heard).await });
        let telling = Arc::clone(self);
        self.tasks.spawn(async move { telling.tell_changes().await });
        let watching = Arc::clone(self);
        self.tasks.spawn(async move { watching.tell_rights().await });
    }

    async fn tell_changes(&self) {
        let Some(others) = self.bus.others() else { return };
        let mut pace = tokio::time::interval(SAY_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let taken = tokio::select! {
                () = self.tasks.ending() => return,
                taken = others.take() => taken,
            };
            let mut kinds: HashMap<TenantId, Vec<String>> = HashMap::new();
            for (tenant, change) in taken {
                kinds.entry(tenant).or_default().push(change.as_str().to_owned());
            }
            for (tenant, kinds) in kinds {
                let tenant_id = tenant.as_bytes().to_vec().into();
                self.cluster.say(To::All, Word::Changed(pb::Changed { tenant_id, kinds }));
            }
            pace.tick().await;
        }
    }

    /// Says that rights changed; looks by itself once the bus is back, because nobody could say it meanwhile.
    async fn tell_rights(&self) {
        let mut rights = self.store.access_version();
        let Some(mut state) = self.cluster.bus().map(adit_bus::Bus::watch) else { return };
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                changed = rights.changed() => match changed {
                    Ok(()) => self.cluster.say(To::All, Word::Rights(pb::Rights {})),
                    Err(_) => return,
                },
                changed = state.changed() => match changed {
                    Ok(()) => self.cluster.rights.notify_one(),
                    Err(_) => return,
                },
            }
        }
    }

    /// Passes on what a machine said of a session that lives at another gateway.
    pub(crate) fn tell_of_machine(&self, session: SessionId, machine: MachineId, what: &OfMachine) {
        let (code, status, signal, refused) = match what {
            OfMachine::Refused(code) => (*code, None, None, true),
            OfMachine::Ended(reason) => {
                (reason.code(), reason.exit_status(), reason.signal(), false)
            }
        };
        self.cluster.say(
            To::All,
            Word::OfMachine(pb::OfMachine {
                session_id: session.as_bytes().to_vec().into(),
                machine_id: machine.as_bytes().to_vec().into(),
                code: code.as_str().to_owned(),
                status,
                signal: signal.unwrap_or_default().to_owned(),
                refused,
            }),
        );
    }

    /// Says that a session is over, to whoever has its machine.
    pub(crate) fn tell_closed(&self, tenant: TenantId, session: SessionId) {
        self.cluster.say(
            To::All,
            Word::Closed(pb::Closed {
                tenant_id: tenant.as_bytes().to_vec().into(),
                session_id: session.as_bytes().to_vec().into(),
            }),
        );
    }
}
