//! The control groups of one job: made before it, asked about it, removed after it.
//!
//! A group is locked (`flock` on its folder) while its sandbox lives. Whoever gets the lock may remove the group: so what a
//! killed sandbox left is told from what a live one uses, in any process namespace, and the kernel removes no group that has processes.

mod find;
mod group;
mod sweep;

pub(crate) use find::{Hierarchies, find};
pub(crate) use group::Group;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use adit_wire::sandbox::{CgroupKind, JobName, Layer, Limits, Refusal, Resource};

use crate::refuse::Holding;

/// What holds one job.
#[derive(Debug)]
pub(crate) struct Groups {
    v1: Vec<Group>,
    v2: Option<Group>,
    hierarchies: Hierarchies,
}

/// What can be limited, and by which layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
    /// Counts CPU time, in the old hierarchies.
    Cpuacct,
}

impl Controller {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
        }
    }

    fn layer(self) -> Option<Layer> {
        match self {
            Self::Memory => Some(Layer::MemoryGroup),
            Self::Pids => Some(Layer::PidsGroup),
            Self::Cpu => Some(Layer::CpuGroup),
            Self::Cpuacct => None,
        }
    }
}

impl Groups {
    /// Makes what can be made here, and notes what cannot.
    pub(crate) fn make(
        job: &JobName,
        limits: &Limits,
        holding: &mut Holding,
    ) -> Result<Self, Refusal> {
        let hierarchies = find().unwrap_or_default();
        let name = format!("{}{}-{}", sweep::PREFIX, job.as_str(), std::process::id());
        let mut groups = Self { v1: Vec::new(), v2: None, hierarchies };
        let v2 = groups.hierarchies.v2.as_ref().map(|own| group::make_unified(own, &name));
        let (v2, mut reason) = match v2 {
            Some(Ok(group)) => (Some(group), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        groups.v2 = v2;
        for controller in
            [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Cpuacct]
        {
            let tried = groups.limit(controller, &name, limits, &mut reason);
            if let Some(layer) = controller.layer() {
                holding.tried(layer, tried)?;
            }
        }
        groups.drop_useless();
        Ok(groups)
    }

    /// Sets one limit, in the old hierarchy of its controller where there is one.
    fn limit(
        &mut self,
        controller: Controller,
        name: &str,
        limits: &Limits,
        reason: &mut Option<io::Error>,
    ) -> io::Result<()> {
        if let Some(own) = self.hierarchies.v1.iter().find(|own| own.has(controller)) {
            let made = self.v1.iter().position(|group| group.parent() == own.path);
            let index = match made {
                Some(index) => index,
                None => {
                    self.v1.push(Group::make(&own.path, name)?);
                    self.v1.len() - 1
                }
            };
            return self
                .v1
                .get_mut(index)
                .map_or(Ok(()), |group| group.limit_v1(controller, limits));
        }
        match (&mut self.v2, reason.take()) {
            (Some(group), _) => group.limit_v2(controller, limits),
            (None, Some(error)) => {
                let again = io::Error::new(error.kind(), error.to_string());
                *reason = Some(again);
                Err(error)
            }
            (None, None) => Err(io::Error::other("no control group has this controller")),
        }
    }

    /// A group that limits nothing is not worth its making.
    fn drop_useless(&mut self) {
        self.v1.retain(Group::is_useful);
        if self.v2.as_ref().is_some_and(|group| !group.is_useful()) {
            self.v2 = None;
        }
    }

    pub(crate) fn kind(&self) -> CgroupKind {
        match (&self.v2, self.v1.is_empty()) {
            (_, false) => CgroupKind::V1,
            (Some(_), true) => CgroupKind::V2,
            (None, true) => CgroupKind::LimitsOnly,
        }
    }

    /// The folder of the unified group, for a fork into it.
    pub(crate) fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(|group| group.folder())
    }

    /// The files by which a process joins the old groups.
    pub(crate) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        self.v1.iter().map(Group::door).collect()
    }

    pub(crate) fn limits(&self, controller: Controller) -> bool {
        self.groups().any(|group| group.has(controller))
    }

    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let group = self.of(Controller::Memory)?;
        group.number("memory.current").or_else(|| group.number("memory.usage_in_bytes"))
    }

    pub(crate) fn pids(&self) -> Option<u64> {
        self.of(Controller::Pids)?.number("pids.current")
    }

    pub(crate) fn cpu_ms(&self) -> Option<u64> {
        let unified = self.v2.as_ref().and_then(|group| group.counter("cpu.stat", "usage_usec"));
        let old = || Some(self.of(Controller::Cpuacct)?.number("cpuacct.usage")? / 1_000_000);
        unified.map(|usage| usage / 1000).or_else(old)
    }

    /// What the kernel refused or killed for, if it did.
    pub(crate) fn exceeded(&self) -> Option<Resource> {
        let memory = self.of(Controller::Memory).and_then(|group| {
            group
                .counter("memory.events", "oom_kill")
                .or_else(|| group.counter("memory.oom_control", "oom_kill"))
        });
        let pids = self.of(Controller::Pids).and_then(|group| group.counter("pids.events", "max"));
        match (memory, pids) {
            (Some(1..), _) => Some(Resource::Memory),
            (_, Some(1..)) => Some(Resource::Pids),
            _ => None,
        }
    }

    /// Kills all that is in it; the process namespace's end does the same.
    pub(crate) fn kill(&self) {
        for group in self.groups() {
            group.kill();
        }
    }

    /// Removes them, and tells where killed sandboxes may have left others.
    pub(crate) fn remove(self) -> Places {
        Places(self.groups().map(|group| group.parent().to_owned()).collect())
    }

    fn of(&self, controller: Controller) -> Option<&Group> {
        self.groups().find(|group| group.has(controller))
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.v1.iter().chain(&self.v2)
    }
}

/// Where groups of jobs are.
#[derive(Debug)]
pub(crate) struct Places(Vec<PathBuf>);

impl Places {
    /// Removes what killed sandboxes left there.
    pub(crate) fn sweep(&self) {
        for place in &self.0 {
            sweep::sweep(place);
        }
    }
}

/// Whether a descriptor's folder is still there.
fn is_there(folder: &OwnedFd) -> bool {
    rustix::fs::accessat(
        folder.as_fd(),
        "cgroup.procs",
        rustix::fs::Access::EXISTS,
        rustix::fs::AtFlags::empty(),
    )
    .is_ok()
}
