//! Landlock: the kernel's own look at every file that is opened, whatever mounts and links say.

use std::fmt::Display;
use std::os::fd::AsFd as _;

use adit_wire::sandbox::{Layer, Plan, Refusal};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope, make_bitflags,
};

use crate::refuse::Holding;
use crate::root::Root;

/// Confines this process and all that it starts, as far as the kernel can.
pub(crate) fn confine(plan: &Plan, root: &Root, holding: &mut Holding) -> Result<(), Refusal> {
    let held = match restrict(plan, root) {
        Ok(LandlockStatus::Available { effective_abi, .. }) => {
            Held { abi: effective_abi, reason: &TOO_OLD }
        }
        Ok(LandlockStatus::NotEnabled) => {
            Held { abi: ABI::Unsupported, reason: &"not enabled at boot" }
        }
        Ok(LandlockStatus::NotImplemented) => {
            Held { abi: ABI::Unsupported, reason: &"not in this kernel" }
        }
        Err(error) => return held_not(plan, &error, holding),
    };
    held.note(Layer::Landlock, ABI::V1, holding)?;
    if plan.allow_network {
        holding.waived(Layer::LandlockNetwork);
    } else {
        held.note(Layer::LandlockNetwork, ABI::V4, holding)?;
    }
    held.note(Layer::LandlockScope, ABI::V6, holding)
}

/// How far the kernel's Landlock goes.
struct Held<'a> {
    abi: ABI,
    reason: &'a dyn Display,
}

impl Held<'_> {
    fn note(&self, layer: Layer, since: ABI, holding: &mut Holding) -> Result<(), Refusal> {
        if self.abi >= since {
            holding.enforced(layer);
            return Ok(());
        }
        holding.missing(layer, self.reason)
    }
}

fn held_not(plan: &Plan, error: &RulesetError, holding: &mut Holding) -> Result<(), Refusal> {
    holding.missing(Layer::Landlock, error)?;
    if !plan.allow_network {
        holding.missing(Layer::LandlockNetwork, error)?;
    }
    holding.missing(Layer::LandlockScope, error)
}

/// Everything below the root may be read and executed, little may be written, and what is not below the root may not be touched.
fn restrict(plan: &Plan, root: &Root) -> Result<LandlockStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    if !plan.allow_network {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut ruleset = ruleset.create()?;
    ruleset = allow_below(ruleset, "/", READ)?;
    ruleset = allow_below(ruleset, "/dev", make_bitflags!(AccessFs::{WriteFile | IoctlDev}))?;
    for folder in root.scratch.iter().chain(&root.writable) {
        let rule = PathBeneath::new(folder.as_fd(), rights_on(folder));
        ruleset = ruleset.add_rule(rule)?;
    }
    Ok(ruleset.restrict_self()?.landlock)
}

fn allow_below(
    ruleset: RulesetCreated,
    path: &str,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(place) => ruleset.add_rule(PathBeneath::new(place, rights)),
        // What is not there needs no right.
        Err(_) => Ok(ruleset),
    }
}

/// What a folder has beyond a file has no meaning on a file.
fn rights_on(place: &std::os::fd::OwnedFd) -> BitFlags<AccessFs> {
    let is_folder = rustix::fs::fstat(place).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
    });
    let all = AccessFs::from_all(NEWEST);
    if is_folder { all } else { all & AccessFs::from_file(NEWEST) }
}

/// The newest that this library knows; the kernel takes what it knows of it.
const NEWEST: ABI = ABI::V9;

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});

const TOO_OLD: &str = "this kernel's Landlock is too old";
