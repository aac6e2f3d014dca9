//! Tries to break out of the sandbox, from inside, and prints what it got: `NAME=ERRNO` or `NAME=ok` a line.
//!
//! For the tests of this crate, which run it as a job, and outside to see that an attempt can succeed at all.
#![expect(unsafe_code, reason = "raw system calls with arguments that no library would pass")]

use std::ffi::{CString, c_long};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};

use nix::errno::Errno;
use nix::libc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, rest) = arguments.split_first().expect("an attempt is named");
    match what.as_str() {
        "calls" => calls(),
        "x32" => foreign(x32),
        "int80" => foreign(int80),
        "sockets" => sockets(),
        "connect" => connect(rest),
        "abstract" => connect_abstract(rest),
        "tty" => tty(),
        "read" => each(rest, |path| {
            std::fs::File::open(path).and_then(|mut file| file.read(&mut [0]).map(drop))
        }),
        "write" => each(rest, write),
        "list" => each(rest, |path| std::fs::read_dir(path).map(drop)),
        "remount" => remount(),
        "descriptors" => descriptors(),
        "environment" => environment(),
        "survive" => survive(),
        "wait" => wait_long(),
        "kill" => kill(rest),
        "signal" => each(rest, signal),
        "bomb" => bomb(),
        "memory" => memory(),
        "spin" => spin(),
        "file" => file(),
        "files" => files(),
        "core" => core(),
        "ipc" => ipc(),
        "gain" => gain(),
        "raise" => each(rest, raise),
        "without" => without(rest),
        other => panic!("no attempt is called {other}"),
    }
}

fn tell(name: &str, answer: c_long) {
    let error = Errno::last();
    if answer < 0 { println!("{name}={error:?}") } else { println!("{name}=ok") }
}

fn each(paths: &[String], attempt: impl Fn(&str) -> std::io::Result<()>) {
    for path in paths {
        match attempt(path) {
            Ok(()) => println!("{path}=ok"),
            Err(error) => {
                println!("{path}={:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0)))
            }
        }
    }
}

fn write(path: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?.write_all(b"x")
}

/// Makes one call in a child, so that one that succeeds changes nothing for the next.
fn call(name: &str, number: c_long, arguments: [c_long; 5]) {
    let _ = std::io::stdout().flush();
    // SAFETY: this program has one thread; the child makes one call, prints and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let [a, b, c, d, e] = arguments;
        // SAFETY: whatever the arguments are, they point to nothing that this program uses: null, a number, or an empty string.
        let answer = unsafe { libc::syscall(number, a, b, c, d, e) };
        tell(name, answer);
        let _ = std::io::stdout().flush();
        // SAFETY: it ends the process.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to a local.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if libc::WIFSIGNALED(status) {
        println!("{name}=signal {}", libc::WTERMSIG(status));
    }
}

fn calls() {
    let nowhere = c"/nonexistent".as_ptr() as c_long;
    let child = c_long::from(libc::SIGCHLD);
    for (name, number, arguments) in [
        ("unshare_user", libc::SYS_unshare, [c_long::from(libc::CLONE_NEWUSER), 0, 0, 0, 0]),
        ("unshare_mount", libc::SYS_unshare, [c_long::from(libc::CLONE_NEWNS), 0, 0, 0, 0]),
        ("clone_user", libc::SYS_clone, [c_long::from(libc::CLONE_NEWUSER) | child, 0, 0, 0, 0]),
        ("clone_pid", libc::SYS_clone, [c_long::from(libc::CLONE_NEWPID) | child, 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [0, 0, 0, 0, 0]),
        ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [nowhere, nowhere, 0, 0, 0]),
        ("umount2", libc::SYS_umount2, [nowhere, 0, 0, 0, 0]),
        ("pivot_root", libc::SYS_pivot_root, [nowhere, nowhere, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, [nowhere, 0, 0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [-1, nowhere, 1, 0, 0]),
        ("move_mount", libc::SYS_move_mount, [-1, nowhere, -1, nowhere, 0]),
        ("fsopen", libc::SYS_fsopen, [nowhere, 0, 0, 0, 0]),
        ("fsmount", libc::SYS_fsmount, [-1, 0, 0, 0, 0]),
        ("mount_setattr", libc::SYS_mount_setattr, [-1, nowhere, 0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, 0, 0, 0, 0]),
        ("ptrace", libc::SYS_ptrace, [0, 0, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0]),
        ("process_vm_writev", libc::SYS_process_vm_writev, [1, 0, 0, 0, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, 0, 0, 0, 0]),
        ("kcmp", libc::SYS_kcmp, [1, 1, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, 0, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0, 0, -1, -1, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
        ("io_uring_enter", libc::SYS_io_uring_enter, [-1, 0, 0, 0, 0]),
        ("io_uring_register", libc::SYS_io_uring_register, [-1, 0, 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0, -3, 1, 0, 0]),
        ("add_key", libc::SYS_add_key, [0, 0, 0, 0, 0]),
        ("request_key", libc::SYS_request_key, [0, 0, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, [0, 0, 0, -1, 0]),
        ("init_module", libc::SYS_init_module, [0, 0, 0, 0, 0]),
        ("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, [nowhere, 0, 0, 0, 0]),
        ("clock_settime", libc::SYS_clock_settime, [0, 0, 0, 0, 0]),
        ("syslog", libc::SYS_syslog, [3, 0, 0, 0, 0]),
        ("fanotify_init", libc::SYS_fanotify_init, [0, 0, 0, 0, 0]),
        ("seccomp", libc::SYS_seccomp, [2, 0, 0, 0, 0]),
        ("personality", libc::SYS_personality, [0x0008_0000, 0, 0, 0, 0]),
        ("unknown", 500, [0, 0, 0, 0, 0]),
    ] {
        call(name, number, arguments);
    }
    #[cfg(target_arch = "x86_64")]
    for (name, number) in [("iopl", libc::SYS_iopl), ("modify_ldt", libc::SYS_modify_ldt)] {
        call(name, number, [0; 5]);
    }
}

fn foreign(attempt: fn()) {
    attempt();
    println!("alive");
}

#[cfg(target_arch = "x86_64")]
fn x32() {
    // SAFETY: getpid takes nothing.
    unsafe { libc::syscall(libc::SYS_getpid | 0x4000_0000) };
}

#[cfg(target_arch = "x86_64")]
fn int80() {
    // SAFETY: the 32-bit getpid takes nothing and changes the one register that is named; the others that the entry clears are named too.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_u64 => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn x32() {}

#[cfg(not(target_arch = "x86_64"))]
fn int80() {}

fn sockets() {
    for (name, family, kind, protocol) in [
        ("tcp", libc::AF_INET, libc::SOCK_STREAM, 0),
        ("udp", libc::AF_INET, libc::SOCK_DGRAM, 0),
        ("tcp6", libc::AF_INET6, libc::SOCK_STREAM, 0),
        ("raw", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        ("packet", libc::AF_PACKET, libc::SOCK_RAW, 0),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE),
        ("netlink_datagram", libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_ROUTE),
        ("netlink_diag", libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_SOCK_DIAG),
        ("netlink_filter", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
        ("netlink_audit", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
        ("netlink_uevent", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT),
        ("netlink_generic", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC),
        ("netlink_xfrm", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_XFRM),
        ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        ("alg", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        ("unix", libc::AF_UNIX, libc::SOCK_STREAM, 0),
    ] {
        // SAFETY: it takes numbers.
        tell(name, c_long::from(unsafe { libc::socket(family, kind, protocol) }));
    }
}

fn connect(paths: &[String]) {
    each(paths, |path| match path.parse::<std::net::SocketAddr>() {
        Ok(address) => std::net::TcpStream::connect(address).map(drop),
        Err(_) => UnixStream::connect(path).map(drop),
    });
}

fn connect_abstract(names: &[String]) {
    use std::os::linux::net::SocketAddrExt as _;
    each(names, |name| {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        UnixStream::connect_addr(&address).map(drop)
    });
}

fn tty() {
    let letter = b'x';
    for (name, command) in
        [("sti", libc::TIOCSTI), ("linux", libc::TIOCLINUX), ("sctty", libc::TIOCSCTTY)]
    {
        // SAFETY: each takes a pointer to one byte or a number; the local is one.
        tell(name, c_long::from(unsafe { libc::ioctl(1, command, &raw const letter) }));
    }
    each(&["/dev/tty".to_owned(), "/proc/self/fd/1".to_owned()], |path| {
        std::fs::File::open(path).map(drop)
    });
}

fn remount() {
    let root = c"/".as_ptr();
    // SAFETY: the strings live for ever, and null is allowed where it stands.
    unsafe {
        let flags = libc::MS_REMOUNT | libc::MS_BIND;
        tell(
            "remount",
            c_long::from(libc::mount(root, root, std::ptr::null(), flags, std::ptr::null())),
        );
        let disk = libc::makedev(8, 0);
        tell(
            "mknod",
            c_long::from(libc::mknod(c"/tmp/disk".as_ptr(), libc::S_IFBLK | 0o600, disk)),
        );
        tell("handle", libc::syscall(libc::SYS_name_to_handle_at, -1, root, 0, 0, 0));
    }
}

/// Every descriptor that is open but the three and the one that lists them.
fn descriptors() {
    let folder = std::fs::read_dir("/proc/self/fd").expect("a process sees its own descriptors");
    let mut open: Vec<String> =
        folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    open.sort();
    println!("{}", open.join(" "));
}

fn environment() {
    for (name, value) in std::env::vars() {
        println!("{name}={value}");
    }
    let input = std::io::stdin().read(&mut [0; 1]);
    println!("input={input:?}");
    println!("cwd={}", std::env::current_dir().expect("it is there").display());
    let umask = nix_umask();
    println!("umask={umask:o}");
    // SAFETY: it takes nothing and cannot fail.
    println!("uid={} session={}", unsafe { libc::getuid() }, unsafe {
        libc::getsid(0) == libc::getpid()
    });
}

fn nix_umask() -> libc::mode_t {
    // SAFETY: it changes a number of this process only.
    unsafe { libc::umask(0) }
}

/// A daemon that does what it can to stay: two forks, a session of its own, deaf to what asks it to end.
fn survive() {
    // SAFETY: this program has one thread, and ignoring a signal runs no code.
    unsafe {
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
            libc::signal(signal, libc::SIG_IGN);
        }
        if libc::fork() == 0 {
            libc::setsid();
            if libc::fork() == 0 {
                println!("daemon");
                wait_long();
            }
            libc::_exit(0);
        }
    }
    wait_long();
}

fn wait_long() {
    println!("waiting");
    let _ = std::io::stdout().flush();
    loop {
        // SAFETY: it waits for a signal.
        unsafe { libc::pause() };
    }
}

fn kill(pids: &[String]) {
    for pid in pids {
        let number: i32 = pid.parse().expect("a process has a number");
        // SAFETY: it takes numbers.
        tell(pid, c_long::from(unsafe { libc::kill(number, libc::SIGKILL) }));
    }
}

/// Asks a process to end by what `/proc` tells of it, which the kernel takes for a handle.
fn signal(folder: &str) -> std::io::Result<()> {
    let folder = std::fs::File::open(folder)?;
    let (call, signal) = (libc::SYS_pidfd_send_signal, libc::SIGKILL);
    // SAFETY: it takes numbers, and null for what it would be told besides.
    let answer = unsafe { libc::syscall(call, folder.as_raw_fd(), signal, 0, 0) };
    if answer < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Forks until that fails; its children wait.
fn bomb() {
    let mut count = 0;
    loop {
        // SAFETY: this program has one thread; the child only waits.
        match unsafe { libc::fork() } {
            0 => loop {
                // SAFETY: it waits for a signal.
                unsafe { libc::pause() };
            },
            -1 => break,
            _ => count += 1,
        }
    }
    println!("forks={count} {:?}", Errno::last());
    wait_long();
}

fn memory() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for _ in 0..1024 {
        all.push(vec![1; 1024 * 1024]);
    }
    println!("allocated={}", all.len());
}

fn spin() {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}

fn file() {
    let mut file = std::fs::File::create("/tmp/large").expect("the private /tmp can be written");
    let megabyte = vec![0; 1024 * 1024];
    for _ in 0..1024 {
        if let Err(error) = file.write_all(&megabyte) {
            println!("file={:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0)));
            std::process::exit(1);
        }
    }
}

fn files() {
    for number in 0..1_000_000 {
        if let Err(error) = std::fs::File::create(format!("/tmp/{number}")) {
            println!("files={:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0)));
            std::process::exit(1);
        }
    }
}

fn core() {
    // SAFETY: all bits of the struct are numbers, which the kernel fills.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
    println!("core={} {}", limit.rlim_cur, limit.rlim_max);
    let _ = std::io::stdout().flush();
    std::process::abort();
}

/// Leaves shared memory, a queue and files behind.
fn ipc() {
    // SAFETY: it takes numbers.
    tell("shm", c_long::from(unsafe { libc::shmget(KEY, 4096, libc::IPC_CREAT | 0o600) }));
    each(&["/dev/shm/left".to_owned(), "/tmp/left".to_owned()], write);
    drop(UnixListener::bind("/tmp/left-socket"));
}

/// What this process could do with what it executes.
fn gain() {
    let status =
        std::fs::read_to_string("/proc/self/status").expect("a process sees its own status");
    let wanted = [
        "Uid:",
        "Gid:",
        "Groups:",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp:",
    ];
    for line in status.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name))) {
        println!("{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

/// Takes every capability, into one of the three sets or all.
fn raise(sets: &str) -> std::io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let of = |name: &str| {
        if sets.contains(name) { CapabilitySet::all() } else { CapabilitySet::empty() }
    };
    let (effective, permitted) = (of("effective"), of("permitted"));
    let sets = CapabilitySets { effective, permitted, inheritable: of("inheritable") };
    Ok(set_capabilities(None, sets)?)
}

/// Executes a program for which a system call is refused: `without NAME ERRNO PROGRAM ARGUMENTS`.
fn without(arguments: &[String]) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    let [call, errno, program @ ..] = arguments else { panic!("a call, an errno and a program") };
    let number = match call.as_str() {
        "seccomp" => libc::SYS_prctl,
        "landlock" => libc::SYS_landlock_create_ruleset,
        "mount" => libc::SYS_open_tree,
        other => panic!("{other} cannot be taken away"),
    };
    let errno = SeccompAction::Errno(errno.parse().expect("a number"));
    let conditions = if call == "seccomp" { vec![seccomp_by_prctl()] } else { Vec::new() };
    let rules = std::iter::once((number, conditions)).collect();
    let arch: TargetArch = std::env::consts::ARCH.try_into().expect("one of three");
    let mut rules: std::collections::BTreeMap<i64, Vec<_>> = rules;
    if call == "seccomp" {
        rules.insert(libc::SYS_seccomp, Vec::new());
    }
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).expect("two actions");
    let filter: BpfProgram = filter.try_into().expect("a short filter");
    seccompiler::apply_filter(&filter).expect("a filter can be installed");
    let program: Vec<CString> =
        program.iter().map(|word| CString::new(word.as_str()).expect("no NUL")).collect();
    let mut pointers: Vec<_> = program.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let first = pointers.first().copied().expect("a program is named");
    // SAFETY: the strings and the list that ends with null live through the call.
    unsafe { libc::execv(first, pointers.as_ptr()) };
    panic!("{:?}, {}", Errno::last(), std::io::stdin().as_raw_fd());
}

fn seccomp_by_prctl() -> seccompiler::SeccompRule {
    use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
    let is = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        u64::from(libc::PR_SET_SECCOMP.cast_unsigned()),
    );
    SeccompRule::new(vec![is.expect("there is an argument 0")]).expect("one condition")
}

/// Nobody else's.
const KEY: libc::key_t = 0x0ad1_7000;
