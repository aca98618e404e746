//! Which of the nodes that fit is the best one.

use super::view::Seat;
use crate::{ids::ServiceId, model::Strategy};

/// A node's rank for a task of a service: the least is the best. The last part is the node's place by id, so that no
/// two are equal and every run decides the same.
pub(super) type Rank = [u64; 5];

const MILLION: u64 = 1_000_000;

/// The rank of the node at `seat`, whose place by id is `at`. `shunned` nodes come last.
pub(super) fn rank(
    strategy: Strategy,
    service: ServiceId,
    seat: &Seat<'_>,
    at: usize,
    shunned: bool,
) -> Rank {
    let tasks = seat.load.wanted() as u64;
    let of_service = u64::from(seat.load.wanted_of(service));
    let reserved = reserved_share(seat);
    let (shunned, at) = (u64::from(shunned), at as u64);
    match strategy {
        Strategy::Spread => [shunned, of_service, tasks, reserved, at],
        Strategy::Binpack => [shunned, MILLION.saturating_sub(reserved), u64::MAX - tasks, 0, at],
    }
}

/// How much of what it is shortest of is reserved, in millionths.
fn reserved_share(seat: &Seat<'_>) -> u64 {
    let share = |part: u64, whole: u64| part.saturating_mul(MILLION) / whole.max(1);
    let machine = &seat.node.description;
    let reserved = seat.load.reserved;
    share(reserved.nano_cpus, machine.nano_cpus).max(share(reserved.memory, machine.memory)).min(MILLION)
}
