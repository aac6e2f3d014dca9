//! Machines: how they are found and removed.

use std::net::IpAddr;

use adit_domain::machine::plain_claim;
use adit_domain::{Capability, Code, MachineId, MachineLabel};
use adit_store::{Machine, MachineFacts};

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party, target_of};
use crate::audit::{self, Actor};
use crate::bus::Change;

impl Gateway {
    /// Finds a machine by its id or label, if the caller may see it.
    ///
    /// # Errors
    /// [`Code::TargetUnknown`] alike for one that is not there and one that the caller may not see.
    pub async fn find_machine(
        &self,
        caller: &Caller,
        id_or_label: &str,
    ) -> Result<Machine, Refusal> {
        let unknown = || Refusal::Code(Code::TargetUnknown);
        let tenant = self.store.tenant(caller.principal.tenant);
        let found = match id_or_label.parse::<MachineId>() {
            Ok(id) => tenant.find_machine(id).await?.filter(|m| m.removed_at.is_none()),
            Err(_) => {
                let label: MachineLabel = id_or_label.parse().map_err(|_| unknown())?;
                tenant.find_machine_labelled(&label).await?
            }
        };
        let machine = found.ok_or_else(unknown)?;
        let facts = self.facts_of(caller).await?;
        let target = target_of(&machine);
        let may = adit_domain::policy::within_reach(&facts, &target, self.clock.now());
        if may.is_empty() { Err(unknown()) } else { Ok(machine) }
    }

    /// Removes a machine: its key and certificate open nothing from now on, its sessions end.
    ///
    /// # Errors
    /// [`Code::TargetUnknown`] when there is none.
    pub async fn remove_machine(&self, caller: &Caller, machine: &Machine) -> Result<(), Refusal> {
        self.permit_machine(
            caller,
            adit_domain::Capabilities::of(&[Capability::MachineManage]),
            machine,
        )
        .await?;
        let event = self.event(
            "machine.remove",
            &caller.actor(),
            format!("The machine {} was removed", machine.label),
        );
        let event = event.on(machine_party(machine));
        let tell = move |gone: &Option<Machine>| if gone.is_some() { event.only() } else { vec![] };
        let tenant = self.store.tenant(machine.tenant);
        let gone = tenant.remove_machine(machine.id, self.clock.now(), tell).await?;
        self.sessions.end_on(machine.id, Code::TargetInactive);
        self.hub.drop_machine(machine.id);
        self.bus.tell(caller.principal.tenant, Change::Access);
        self.bus.tell(caller.principal.tenant, Change::Machines);
        gone.map(drop).ok_or(Refusal::Code(Code::TargetUnknown))
    }
}

/// Makes what a machine says of itself harmless (AGT-14).
pub fn plain_facts(facts: MachineFacts) -> MachineFacts {
    MachineFacts {
        hostname: plain_claim(&facts.hostname),
        os: plain_claim(&facts.os),
        arch: plain_claim(&facts.arch),
        version: plain_claim(&facts.version),
        cores: facts.cores,
        memory_bytes: facts.memory_bytes,
    }
}

/// Names a machine as the one who acts.
pub fn machine_actor(machine: &Machine, address: Option<IpAddr>) -> Actor {
    Actor {
        party: audit::party("machine", machine.id.0, machine.label.as_str()),
        address,
        client: None,
        tenant: machine.tenant,
    }
}
