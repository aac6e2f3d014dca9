//! Which system calls a job may make.

mod calls;

use std::collections::BTreeMap;

use adit_wire::sandbox::{Layer, Refusal};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

use crate::refuse::unavailable;

/// Which families of sockets a job may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// The machine's network, and its addresses and routes.
    pub(crate) network: bool,
    /// Unix sockets.
    pub(crate) local: bool,
}

/// Makes the filter.
pub(crate) fn compile(sockets: Sockets) -> Result<BpfProgram, Refusal> {
    program(sockets).map_err(|error| unavailable(Layer::Seccomp, &error))
}

/// Installs the filter: it holds this process and all that it starts, for good.
pub(crate) fn install(filter: &BpfProgram) -> Result<(), Refusal> {
    apply_filter(filter).map_err(|error| unavailable(Layer::Seccomp, &error))
}

/// The filter. What is refused gets EPERM, as if a right were missing; another machine's calls kill.
fn program(sockets: Sockets) -> Result<BpfProgram, seccompiler::BackendError> {
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(rules(sockets)?, refused, SeccompAction::Allow, ARCH)?;
    let mut program = prelude();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

fn rules(sockets: Sockets) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls::all().map(|call| (call, Vec::new())).collect();
    let namespaces = SeccompCmpOp::MaskedEq(NAMESPACES);
    rules.insert(libc::SYS_clone, vec![rule(&[(0, namespaces, 0)])?]);
    let commands: Vec<_> = TERMINAL.iter().map(|command| (1, SeccompCmpOp::Ne, *command)).collect();
    rules.insert(libc::SYS_ioctl, vec![rule(&commands)?]);
    let persona = |value| rule(&[(0, SeccompCmpOp::Eq, value)]);
    rules.insert(libc::SYS_personality, vec![persona(0)?, persona(0xffff_ffff)?]);
    let families = families(sockets).map(|family| rule(&[(0, SeccompCmpOp::Eq, family)]));
    let mut families: Vec<SeccompRule> = families.collect::<Result<_, _>>()?;
    if sockets.network {
        families.push(routes(libc::SOCK_RAW)?);
        families.push(routes(libc::SOCK_DGRAM)?);
    }
    if !families.is_empty() {
        rules.insert(libc::SYS_socket, families);
    }
    rules.insert(libc::SYS_socketpair, vec![rule(&[(0, SeccompCmpOp::Eq, 1)])?]);
    Ok(rules)
}

fn families(sockets: Sockets) -> impl Iterator<Item = u64> {
    let local = sockets.local.then_some(libc::AF_UNIX);
    let network = [libc::AF_INET, libc::AF_INET6];
    let network = network.into_iter().filter(move |_| sockets.network);
    local.into_iter().chain(network).map(|family| u64::from(family.cast_unsigned()))
}

/// What tells addresses and routes, and what name lookups ask; no other part of the kernel that speaks netlink.
fn routes(kind: libc::c_int) -> Result<SeccompRule, seccompiler::BackendError> {
    let is = |number: libc::c_int| u64::from(number.cast_unsigned());
    rule(&[
        (0, SeccompCmpOp::Eq, is(libc::AF_NETLINK)),
        (1, SeccompCmpOp::MaskedEq(SOCKET_KIND), is(kind)),
        (2, SeccompCmpOp::Eq, is(libc::NETLINK_ROUTE)),
    ])
}

/// All of the conditions; each looks at the lower half of an argument, which is all that these calls look at.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions.iter().map(|(argument, operator, value)| {
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, operator.clone(), *value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// What comes before the list, because the list knows but one answer: other architectures and x32 kill; `clone3`, whose flags no
/// filter can see, and calls that are newer than this list do not exist, so that programs take the older ones.
fn prelude() -> BpfProgram {
    let load = |offset| instruction(LOAD_WORD, 0, 0, offset);
    let answer = |action: u32| instruction(RETURN, 0, 0, action);
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    vec![
        load(ARCH_OFFSET),
        instruction(JUMP_EQUAL, 1, 0, AUDIT_ARCH),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER_OFFSET),
        instruction(JUMP_AT_LEAST, 0, 1, X32_BIT),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        instruction(JUMP_EQUAL, 1, 0, CLONE3),
        instruction(JUMP_AT_LEAST, 0, 1, FIRST_UNKNOWN),
        answer(missing),
    ]
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64` of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// The flags of `clone` that make namespaces; `CLONE_NEWTIME` shares its bit with the exit signal, which `clone` takes.
const NAMESPACES: u64 = 0x7e02_0000;

/// `SOCK_TYPE_MASK` of linux/net.h: what is above are flags.
const SOCKET_KIND: u64 = 0xf;

/// `TIOCSTI`, `TIOCLINUX`, `TIOCSCTTY`, `TIOCSETD`, `TIOCCONS`: they type, paste, take a terminal over or change what is behind it.
const TERMINAL: &[u64] = &[0x5412, 0x541c, 0x540e, 0x5423, 0x541d];

/// The same number on both architectures.
const CLONE3: u32 = 435;

/// Calls have had the same numbers everywhere since 424; `mseal` is the last that the list knows.
const FIRST_UNKNOWN: u32 = 463;

/// `__X32_SYSCALL_BIT`.
const X32_BIT: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_JMP | BPF_JGE | BPF_K`, `BPF_RET | BPF_K` of linux/filter.h.
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_that_opens_the_sandbox_is_on_the_list() {
        // JOB-22, JOB-23
        for call in [
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_open_by_handle_at,
            libc::SYS_clone3,
            libc::SYS_pidfd_getfd,
            libc::SYS_seccomp,
        ] {
            assert!(calls::all().all(|allowed| allowed != call), "{call}");
        }
    }

    #[test]
    fn the_filter_fits_into_the_kernels_limit() {
        let program = program(Sockets { network: true, local: true }).unwrap();
        assert!(program.len() < 4096, "{}", program.len());
    }

    #[test]
    fn a_job_without_network_and_local_sockets_makes_none() {
        // JOB-19
        let rules = rules(Sockets { network: false, local: false }).unwrap();
        assert!(!rules.contains_key(&libc::SYS_socket));
    }
}
