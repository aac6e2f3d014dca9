//! Networks and sockets.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use adit_wire::sandbox::{Layer, State};

use crate::job::{BOTH, Bench, By, parameter, path};

#[test]
fn without_network_there_are_local_sockets_only() {
    // CMD-30, JOB-19
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&bench.attempt(&["sockets"]), by);
        for name in ["tcp", "udp", "tcp6", "raw", "packet", "vsock", "alg"] {
            assert_eq!(done.answer(name), "EPERM", "{by:?} {name}");
        }
        for name in ROUTES.iter().chain(OTHER_NETLINK) {
            assert_eq!(done.answer(name), "EPERM", "{by:?} {name}");
        }
        assert_eq!(done.answer("unix"), "ok");
    }
}

#[test]
fn without_network_nothing_is_reached() {
    // JOB-19: the machine's own loopback, a name server, the address of clouds.
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().to_string();
    let done = bench
        .run(&bench.attempt(&["connect", &here, "8.8.8.8:53", "169.254.169.254:80"]), By::Root);
    assert_eq!(done.output.lines().filter(|line| line.ends_with("=EPERM")).count(), 3, "{done:?}");
    assert_eq!(bench.attempt_outside(&["connect", &here]), format!("{here}=ok\n"));
}

#[test]
fn with_network_the_machines_is_shared() {
    // CMD-30
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().to_string();
    for by in BOTH {
        let mut plan = bench.attempt(&["connect", &here]);
        plan.allow_network = true;
        let done = bench.run(&plan, by);
        assert_eq!(done.answer(&here), "ok", "{by:?}");
        assert_eq!(done.state(Layer::NetNamespace), &State::Waived);
    }
}

#[test]
fn with_network_raw_sockets_are_not() {
    // JOB-19
    let bench = Bench::new();
    let mut plan = bench.attempt(&["sockets"]);
    plan.allow_network = true;
    let done = bench.run(&plan, By::Root);
    for name in ["raw", "packet", "vsock", "alg"] {
        assert_eq!(done.answer(name), "EPERM", "{name}");
    }
}

#[test]
fn with_network_netlink_tells_of_addresses_and_routes_and_of_nothing_else() {
    // CMD-30, JOB-19
    let bench = Bench::new();
    for by in BOTH {
        let mut plan = bench.attempt(&["sockets"]);
        plan.allow_network = true;
        let done = bench.run(&plan, by);
        for name in ROUTES {
            assert_eq!(done.answer(name), "ok", "{by:?} {name}");
        }
        for name in OTHER_NETLINK {
            assert_eq!(done.answer(name), "EPERM", "{by:?} {name}");
        }
    }
}

#[test]
fn an_abstract_socket_is_not_reached_even_with_network() {
    // JOB-19: X11 and D-Bus.
    let bench = Bench::new();
    let name = format!("adit-test-{}", std::process::id());
    let _listener =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    for by in BOTH {
        let mut plan = bench.attempt(&["abstract", &name]);
        assert_eq!(bench.run(&plan, by).answer(&name), "ECONNREFUSED");
        plan.allow_network = true;
        assert_eq!(bench.run(&plan, by).answer(&name), "EPERM");
    }
    assert_eq!(bench.attempt_outside(&["abstract", &name]), format!("{name}=ok\n"));
}

#[test]
fn an_abstract_socket_is_not_reached_even_without_landlock() {
    // JOB-19, JOB-36
    let bench = Bench::new();
    let name = format!("adit-test-bare-{}", std::process::id());
    let _listener =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut plan = bench.attempt(&["abstract", &name]);
    plan.allow_network = true;
    let done = bench.run_without_landlock(&plan, By::Root);
    assert_eq!(done.answer(&name), "EPERM", "{done:?}");
}

#[test]
fn a_socket_in_a_folder_that_is_not_a_usual_one_is_not_reached() {
    // JOB-17, JOB-19: a read-only mount alone does not keep anybody from connecting.
    let bench = Bench::new();
    let folder = bench.make_folder("named");
    let socket = folder.join("agent.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let socket = socket.to_str().unwrap();
    for by in BOTH {
        let mut plan = bench.attempt(&["connect", socket]);
        plan.paths = vec![parameter(&folder, &folder)];
        assert_eq!(bench.run(&plan, by).answer(socket), "EPERM");
        plan.paths.clear();
        plan.system.as_mut().unwrap().push(path(folder.to_str().unwrap()));
        assert_eq!(bench.run(&plan, by).answer(socket), "EPERM");
    }
    assert_eq!(bench.attempt_outside(&["connect", socket]), format!("{socket}=ok\n"));
}

const ROUTES: &[&str] = &["netlink", "netlink_datagram"];

const OTHER_NETLINK: &[&str] = &[
    "netlink_diag",
    "netlink_filter",
    "netlink_audit",
    "netlink_uevent",
    "netlink_generic",
    "netlink_xfrm",
];
