//! How a controller answers calls: as the gate does it, here or at the leader, again and again while that can help.

use super::{
    controller::{ControllerEvent, Reported},
    net::{Answer, Call, Machine, Packet},
    time::{MILLI, Micros, SECOND},
    world::World,
};
use std::collections::BTreeMap;
use wharf_cluster::{level::Level, state::Outcome};
use wharf_controller::{
    leadership::Leadership,
    raft::{Applied, ProposeError, ReadError, TransferError},
};
use wharf_proto::codec::{decode_command, encode_command};

/// How long a call waits for a leader.
const PATIENCE: Micros = 6 * SECOND;
/// What is waited before a call is made again.
const RETRY: Micros = 100 * MILLI;

/// Calls that wait at a controller.
#[derive(Debug, Default)]
pub struct Calls {
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    from: Machine,
    /// The caller's number.
    number: u64,
    forwarded: bool,
    call: Call,
    deadline: Micros,
    /// Whom it was passed on to, and in which leadership.
    passed_on: Option<Leadership>,
    /// Something will come of it by itself.
    busy: bool,
}

impl World {
    /// A call arrives at a controller.
    pub fn take_call(&mut self, host: usize, from: Machine, number: u64, forwarded: bool, call: Call) {
        let own = self.number();
        let deadline = self.now + PATIENCE;
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let waiting = Waiting { from, number, forwarded, call, deadline, passed_on: None, busy: false };
        process.calls.waiting.insert(own, waiting);
        self.attempt(host, own);
    }

    /// A call's time has come: it is tried again, or given up.
    pub fn call_due(&mut self, host: usize, own: u64) {
        let now = self.now;
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let Some(waiting) = process.calls.waiting.get(&own).filter(|waiting| !waiting.busy) else { return };
        if now + RETRY >= waiting.deadline {
            self.answer_call(host, own, Answer::Unavailable);
        } else {
            self.attempt(host, own);
        }
    }

    fn attempt(&mut self, host: usize, own: u64) {
        let at = self.stamp(host);
        let me = self.controllers[host].id;
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let leadership = process.leadership;
        let Some(waiting) = process.calls.waiting.get_mut(&own) else { return };
        let outbox = process.outbox.clone();
        match &waiting.call {
            Call::Read(_) => {
                waiting.busy = true;
                process.core.read(Box::new(move |result| outbox.put(Reported::Read(own, result))));
            }
            Call::Write(bytes) if leadership.leading => {
                waiting.busy = true;
                let Ok(mut envelope) = decode_command(bytes, Level::NEWEST) else { return };
                envelope.at = at;
                let reply = move |result| outbox.put(Reported::Answered(own, result));
                process.core.propose(vec![(encode_command(&envelope), Box::new(reply))]);
            }
            Call::Transfer(to) if leadership.leading => {
                waiting.busy = true;
                let to = *to;
                let reply = move |result| outbox.put(Reported::Transferred(own, result));
                process.core.transfer_leader(to, Box::new(reply));
            }
            call => {
                let leader = leadership.leader.filter(|leader| *leader != me && !waiting.forwarded);
                if let Some(leader) = leader {
                    waiting.passed_on = Some(leadership);
                    waiting.busy = true;
                    let packet = Packet::Call { number: own, forwarded: true, call: call.clone() };
                    if let Some(leader) = self.host_of(leader) {
                        self.send(Machine::Controller(host), Machine::Controller(leader), packet);
                    }
                } else {
                    self.own(host, RETRY, ControllerEvent::CallDue(own));
                }
            }
        }
    }

    /// Who leads is known anew: calls that were passed on to another are tried again.
    pub fn retry_calls(&mut self, host: usize) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let now = process.leadership;
        let mut again = Vec::new();
        for (own, waiting) in &mut process.calls.waiting {
            let moved = waiting
                .passed_on
                .is_some_and(|passed| (passed.leader, passed.term) != (now.leader, now.term));
            if moved {
                waiting.passed_on = None;
                waiting.busy = false;
            }
            if !waiting.busy {
                again.push(*own);
            }
        }
        for own in again {
            self.call_due(host, own);
        }
    }

    /// The leader has answered a call that was passed on.
    pub fn forward_answered(&mut self, host: usize, own: u64, answer: Answer) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let Some(waiting) = process.calls.waiting.get_mut(&own) else { return };
        if answer == Answer::Unavailable {
            waiting.passed_on = None;
            self.try_later(host, own);
        } else {
            self.answer_call(host, own, answer);
        }
    }

    fn try_later(&mut self, host: usize, own: u64) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        if let Some(waiting) = process.calls.waiting.get_mut(&own) {
            waiting.busy = false;
            self.own(host, RETRY, ControllerEvent::CallDue(own));
        }
    }

    /// A call's command has come to something.
    pub fn call_proposed(&mut self, host: usize, own: u64, result: Result<Applied<Outcome>, ProposeError>) {
        match result {
            Ok(applied) => {
                let answer = match applied.output {
                    Ok(reply) => Answer::Done { index: applied.index, reply },
                    Err(rejected) => Answer::Rejected(rejected),
                };
                self.answer_call(host, own, answer);
            }
            Err(ProposeError::Overloaded) => self.answer_call(host, own, Answer::Overloaded),
            Err(_) => self.try_later(host, own),
        }
    }

    /// A read may be answered, or can't be.
    pub fn read_confirmed(&mut self, host: usize, own: u64, result: &Result<u64, ReadError>) {
        if result.is_err() {
            return self.try_later(host, own);
        }
        let Some(process) = self.controllers[host].process.as_ref() else { return };
        let Some(waiting) = process.calls.waiting.get(&own) else { return };
        let view = process.published.view();
        if let Call::Read(stack) = &waiting.call {
            let version = view.state.stack(stack).map_or(0, |stack| stack.version);
            self.answer_call(host, own, Answer::Value { index: view.index, version });
        }
    }

    /// Leadership was handed over, or not.
    pub fn transferred(&mut self, host: usize, own: u64, result: &Result<(), TransferError>) {
        let answer = match result {
            Ok(()) => Answer::Value { index: 0, version: 0 },
            Err(_) => Answer::Overloaded,
        };
        self.answer_call(host, own, answer);
    }

    fn answer_call(&mut self, host: usize, own: u64, answer: Answer) {
        let Some(process) = self.controllers[host].process.as_mut() else { return };
        let Some(waiting) = process.calls.waiting.remove(&own) else { return };
        let packet = Packet::Answer { number: waiting.number, answer };
        self.send(Machine::Controller(host), waiting.from, packet);
    }
}
