//! A viewer, a gateway and an agent in one thread, and a network that does its worst between them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;

/// The output window of the model: small, so that it fills.
const WINDOW: u64 = 64;

const WRITER: &[u8] = b"writer";

#[derive(Clone, Debug)]
enum Up {
    Input(u64, Bytes),
    OutputAck(u64),
}

#[derive(Clone, Debug)]
enum Down {
    Output(u64, Bytes),
    InputAck(u64),
    InputRewind(u64, Duration),
}

#[derive(Clone, Copy, Debug)]
enum Wire {
    ViewerToGateway,
    GatewayToViewer,
    GatewayToAgent,
    AgentToGateway,
}

#[derive(Clone, Debug)]
enum Step {
    Type(usize),
    Print(usize),
    WriteToTerminal(usize),
    Carry(Wire),
    /// The gateway's rate limit refuses the next input.
    Limit,
    BreakViewer,
    BreakLink,
    CrashGateway,
    ReconnectViewer,
    ReconnectLink,
    Lose(Wire),
    Repeat(Wire),
    Swap(Wire),
}

fn wires() -> impl Strategy<Value = Wire> {
    prop_oneof![
        Just(Wire::ViewerToGateway),
        Just(Wire::GatewayToViewer),
        Just(Wire::GatewayToAgent),
        Just(Wire::AgentToGateway),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_usize..40).prop_map(Step::Type),
        4 => (1_usize..40).prop_map(Step::Print),
        4 => (1_usize..40).prop_map(Step::WriteToTerminal),
        16 => wires().prop_map(Step::Carry),
        1 => Just(Step::Limit),
        1 => Just(Step::BreakViewer),
        1 => Just(Step::BreakLink),
        1 => Just(Step::CrashGateway),
        2 => Just(Step::ReconnectViewer),
        2 => Just(Step::ReconnectLink),
        1 => wires().prop_map(Step::Lose),
        1 => wires().prop_map(Step::Repeat),
        1 => wires().prop_map(Step::Swap),
    ]
}

/// What a gateway loses when it crashes.
struct Gateway {
    relay: InputRelay,
    /// What came of the machine's output, until the viewer has it.
    received: OutputReceiver,
    backlog: VecDeque<(u64, Bytes)>,
    sender: OutputSender,
    limit: bool,
}

struct World {
    now: Instant,
    typed: Vec<u8>,
    viewer: InputSender,
    shown: Vec<u8>,
    screen: OutputReceiver,
    gateway: Option<Gateway>,
    link: bool,
    /// What the gateway last heard of the writer over this link: the hello's position, then acknowledgements.
    heard: u64,
    agent: Writers,
    taken: VecDeque<u8>,
    terminal: Vec<u8>,
    printed: Vec<u8>,
    ring: OutputSender,
    up: [VecDeque<Up>; 2],
    down: [VecDeque<Down>; 2],
}

impl World {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            typed: Vec::new(),
            viewer: InputSender::new(),
            shown: Vec::new(),
            screen: OutputReceiver::new(0),
            gateway: None,
            link: false,
            heard: 0,
            agent: Writers::new(),
            taken: VecDeque::new(),
            terminal: Vec::new(),
            printed: Vec::new(),
            ring: OutputSender::new(0, WINDOW),
            up: Default::default(),
            down: Default::default(),
        }
    }

    fn step(&mut self, step: &Step) {
        self.now += Duration::from_millis(1);
        match *step {
            Step::Type(len) => self.type_keys(len),
            Step::Print(len) => self.print(len),
            Step::WriteToTerminal(len) => self.write_to_terminal(len),
            Step::Carry(wire) => self.carry(wire),
            Step::Limit => self.gateway.iter_mut().for_each(|gateway| gateway.limit = true),
            Step::BreakViewer => self.break_viewer(),
            Step::BreakLink => self.break_link(),
            Step::CrashGateway => self.break_link(),
            Step::ReconnectViewer => self.reconnect_viewer(),
            Step::ReconnectLink => self.reconnect_link(),
            Step::Lose(wire) => self.tamper(wire, |len| (len > 0).then_some((0, None))),
            Step::Repeat(wire) => self.tamper(wire, |len| (len > 0).then_some((0, Some(0)))),
            Step::Swap(wire) => self.tamper(wire, |len| (len > 1).then_some((0, Some(1)))),
        }
        if matches!(step, Step::CrashGateway) {
            self.break_viewer();
        }
        self.pump();
    }

    fn type_keys(&mut self, len: usize) {
        let keys: Vec<u8> = (self.typed.len()..).take(len).map(|i| (i % 251) as u8).collect();
        let taken = self.viewer.push(&keys);
        self.typed.extend(&keys[..taken]);
    }

    fn print(&mut self, len: usize) {
        let begin = self.printed.len();
        self.printed.extend((begin..).take(len).map(|i| (i % 241) as u8));
    }

    fn write_to_terminal(&mut self, len: usize) {
        let written: Vec<u8> = self.taken.drain(..len.min(self.taken.len())).collect();
        if let Some(position) = self.agent.written(WRITER, written.len()) {
            self.terminal.extend(written);
            self.send_down(1, Down::InputAck(position));
        }
    }

    fn break_viewer(&mut self) {
        self.viewer.lost();
        self.gateway = None;
        self.up[0].clear();
        self.down[0].clear();
    }

    /// Without the machine the gateway keeps its viewer, and refuses input.
    fn break_link(&mut self) {
        self.link = false;
        self.up[1].clear();
        self.down[1].clear();
    }

    fn reconnect_link(&mut self) {
        self.break_link();
        self.link = true;
        let position = self.shake_hands();
        let wanted = self.gateway.as_ref().map(|gateway| gateway.received.position());
        self.ring.resume(wanted.unwrap_or(self.screen.position()));
        if let Some(gateway) = &mut self.gateway {
            gateway.relay.rewind(position);
            self.down[0].push_back(Down::InputRewind(position, Duration::ZERO));
        }
    }

    fn reconnect_viewer(&mut self) {
        if !self.link {
            return;
        }
        self.break_viewer();
        let position = self.heard;
        let wanted = self.screen.position();
        self.viewer.resume(position).expect("what the machine expects is kept");
        // Output for the viewer that left is of no use to the one that came; input on its way still arrives.
        self.up[1].retain(|message| matches!(message, Up::Input(..)));
        self.down[1].retain(|message| !matches!(message, Down::Output(..)));
        self.ring.resume(wanted);
        self.gateway = Some(Gateway {
            relay: InputRelay::new(position),
            received: OutputReceiver::new(wanted),
            backlog: VecDeque::new(),
            sender: OutputSender::new(wanted, WINDOW),
            limit: false,
        });
    }

    /// The agent's hello, and the gateway's `SetWriter` after it.
    fn shake_hands(&mut self) -> u64 {
        let known = self.agent.hello();
        let position = known.first().map_or(self.viewer.acknowledged(), |w| w.position);
        self.agent.select(&Bytes::from_static(WRITER), position);
        self.heard = position;
        position
    }

    fn carry(&mut self, wire: Wire) {
        match wire {
            Wire::ViewerToGateway => {
                if let Some(message) = self.up[0].pop_front() {
                    self.gateway_from_viewer(message);
                }
            }
            Wire::GatewayToAgent => {
                if let Some(message) = self.up[1].pop_front() {
                    self.agent_from_gateway(message);
                }
            }
            Wire::AgentToGateway => {
                if let Some(message) = self.down[1].pop_front() {
                    self.gateway_from_agent(message);
                }
            }
            Wire::GatewayToViewer => {
                if let Some(message) = self.down[0].pop_front() {
                    self.viewer_from_gateway(message);
                }
            }
        }
    }

    fn gateway_from_viewer(&mut self, message: Up) {
        let Some(gateway) = &mut self.gateway else { return };
        match message {
            Up::Input(position, bytes) => match gateway.relay.admit(position, bytes.len()) {
                Admit::Forward if self.link && !std::mem::take(&mut gateway.limit) => {
                    self.up[1].push_back(Up::Input(position, bytes));
                }
                Admit::Forward => {
                    let position = gateway.relay.refuse();
                    let wait = Duration::from_millis(5);
                    self.down[0].push_back(Down::InputRewind(position, wait));
                }
                Admit::Rewind { position } => {
                    self.down[0].push_back(Down::InputRewind(position, Duration::ZERO));
                }
                Admit::Ignore => {}
            },
            Up::OutputAck(position) => {
                if gateway.sender.acked(position).is_err() {
                    return self.break_viewer();
                }
                self.up[1].push_back(Up::OutputAck(position));
            }
        }
    }

    fn agent_from_gateway(&mut self, message: Up) {
        match message {
            Up::Input(position, bytes) => match self.agent.accept(position, &bytes) {
                Accept::Take(bytes) => self.taken.extend(bytes),
                Accept::Rewind { position, .. } => {
                    self.send_down(1, Down::InputRewind(position, Duration::ZERO));
                }
                Accept::Ignore | Accept::Unknown => {}
            },
            Up::OutputAck(position) => {
                if self.ring.acked(position).is_err() {
                    self.break_link();
                }
            }
        }
    }

    fn gateway_from_agent(&mut self, message: Down) {
        if let Down::InputAck(position) = message {
            self.heard = self.heard.max(position);
        }
        let Some(gateway) = &mut self.gateway else { return };
        match message {
            Down::Output(position, bytes) => match gateway.received.accept(position, &bytes) {
                Ok(Some(bytes)) => {
                    let position = gateway.received.position() - bytes.len() as u64;
                    gateway.backlog.push_back((position, bytes));
                }
                Ok(None) => {}
                Err(_) => self.break_link(),
            },
            Down::InputRewind(position, wait) => {
                gateway.relay.rewind(position);
                self.down[0].push_back(Down::InputRewind(position, wait));
            }
            Down::InputAck(position) => self.down[0].push_back(Down::InputAck(position)),
        }
    }

    fn viewer_from_gateway(&mut self, message: Down) {
        let taken = match message {
            Down::Output(position, bytes) => match self.screen.accept(position, &bytes) {
                Ok(fresh) => {
                    self.shown.extend(fresh.unwrap_or_default());
                    self.up[0].push_back(Up::OutputAck(self.screen.position()));
                    Ok(())
                }
                Err(gap) => Err(gap),
            },
            Down::InputAck(position) => self.viewer.acked(position),
            Down::InputRewind(position, wait) => self.viewer.rewind(position, wait, self.now),
        };
        if taken.is_err() {
            self.break_viewer();
        }
    }

    /// Sends what each end may send.
    fn pump(&mut self) {
        while let Some(Transmit::Data { position, bytes }) = self.viewer.poll_transmit(self.now) {
            self.up[0].push_back(Up::Input(position, bytes));
        }
        let begin = usize::try_from(self.ring.next()).expect("the model is small");
        let len = self.ring.room().min(self.printed.len() - begin);
        if self.link && len > 0 {
            let bytes = Bytes::copy_from_slice(&self.printed[begin..begin + len]);
            self.down[1].push_back(Down::Output(begin as u64, bytes));
            self.ring.sent(len);
        }
        let Some(gateway) = &mut self.gateway else { return };
        while gateway.backlog.front().is_some_and(|(_, b)| b.len() <= gateway.sender.room()) {
            let Some((position, bytes)) = gateway.backlog.pop_front() else { break };
            gateway.sender.sent(bytes.len());
            self.down[0].push_back(Down::Output(position, bytes));
        }
    }

    fn send_down(&mut self, hop: usize, message: Down) {
        if hop == 0 || self.link {
            self.down[hop].push_back(message);
        }
    }

    /// Takes the first message off a wire, and puts it back twice or in another's place.
    fn tamper(&mut self, wire: Wire, how: impl Fn(usize) -> Option<(usize, Option<usize>)>) {
        match wire {
            Wire::ViewerToGateway => tamper(&mut self.up[0], how),
            Wire::GatewayToAgent => tamper(&mut self.up[1], how),
            Wire::AgentToGateway => tamper(&mut self.down[1], how),
            Wire::GatewayToViewer => tamper(&mut self.down[0], how),
        }
    }

    /// Mends everything, and lets it run until nothing moves.
    fn heal(&mut self) {
        self.reconnect_link();
        self.reconnect_viewer();
        for _ in 0..10_000 {
            for wire in [
                Wire::ViewerToGateway,
                Wire::GatewayToAgent,
                Wire::AgentToGateway,
                Wire::GatewayToViewer,
            ] {
                self.step(&Step::Carry(wire));
            }
            self.step(&Step::WriteToTerminal(usize::MAX));
            if self.terminal.len() == self.typed.len() && self.shown.len() == self.printed.len() {
                return;
            }
        }
    }
}

fn tamper<M: Clone>(
    queue: &mut VecDeque<M>,
    how: impl Fn(usize) -> Option<(usize, Option<usize>)>,
) {
    let Some((index, again)) = how(queue.len()) else { return };
    let Some(message) = queue.remove(index) else { return };
    match again {
        None => {}
        Some(0) => {
            queue.push_front(message.clone());
            queue.push_front(message);
        }
        Some(place) => queue.insert(place, message),
    }
}

/// Ten thousand schedules, or as many as `ADIT_SCHEDULES` says.
fn schedules() -> u32 {
    std::env::var("ADIT_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000)
}

proptest! {
    #![proptest_config(Config { cases: schedules(), failure_persistence: None, ..Config::default() })]

    // R67, R21, R27, N1, N2
    #[test]
    fn what_arrives_is_a_prefix_of_what_was_sent_and_all_of_it_after_healing(
        schedule in proptest::collection::vec(steps(), 0..120),
    ) {
        let mut world = World::new();
        world.reconnect_link();
        world.reconnect_viewer();
        for step in &schedule {
            world.step(step);
            prop_assert!(world.typed.starts_with(&world.terminal), "input after {step:?}");
            prop_assert!(world.printed.starts_with(&world.shown), "output after {step:?}");
        }
        world.heal();
        prop_assert_eq!(&world.terminal, &world.typed);
        prop_assert_eq!(&world.shown, &world.printed);
    }
}
