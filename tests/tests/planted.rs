//! Bugs on purpose: each is found within a bounded number of seeds, by a check that is there for its like.
//! `cargo test -p wharf-tests --features planted-bugs --test planted`
#![cfg(feature = "planted-bugs")]

use wharf_cluster::planted::{Bug, choose};
use wharf_tests::sim::{checks::Check, run::run_traced, trace::Mode};

/// Seeds that a bug may survive.
const SEEDS: u64 = 400;

/// The checks that may find a bug.
fn finders(bug: Bug) -> &'static [Check] {
    match bug {
        Bug::SentBeforeDurable => {
            // Raft itself may notice, by an assertion.
            &[Check::LogLost, Check::AcknowledgedLost, Check::ReplicasDiffer, Check::TwoLeaders, Check::Panic]
        }
        Bug::VoteForgotten => &[Check::TwoLeaders, Check::AcknowledgedLost, Check::ReplicasDiffer],
        Bug::RequestsForgotten => &[Check::AppliedTwice],
        Bug::OwnTime => &[Check::ReplicasDiffer],
        Bug::SnapshotWithoutRequests => &[Check::ReplicasDiffer, Check::AppliedTwice],
        Bug::ReadUnconfirmed => &[Check::StaleRead],
        Bug::PlacementUnchecked => &[Check::BadPlacement],
        Bug::ReportsGoBack => &[Check::TaskWentBack],
        Bug::SlotShared => &[Check::SlotHeldTwice],
        Bug::NoGrace => &[Check::GivenUpTooSoon],
        Bug::HoldingsForgotten => &[Check::StoppedUnasked],
        Bug::SessionsCountedAnew => &[Check::OldGeneration],
        Bug::LostNodeOverlooked => &[Check::NotSettled],
    }
}

fn is_found(bug: Bug) {
    choose(Some(bug));
    let found = (1..=SEEDS).find_map(|seed| run_traced(seed, Mode::Off).failure);
    choose(None);
    let failure = found.unwrap_or_else(|| panic!("{SEEDS} seeds did not find {bug:?}"));
    println!(
        "{bug:?}: seed {}, step {}: {}: {}",
        failure.seed, failure.step, failure.violation.check, failure.violation.what
    );
    assert!(finders(bug).contains(&failure.violation.check), "{bug:?} was found by another check: {failure}");
}

macro_rules! found {
    ($($test:ident: $bug:ident,)*) => {
        $(#[test]
        fn $test() {
            is_found(Bug::$bug);
        })*

        #[test]
        fn every_bug_has_its_test() {
            assert_eq!([$(Bug::$bug),*], Bug::ALL);
        }
    };
}

found! {
    an_answer_before_the_disk_is_found: SentBeforeDurable,
    a_forgotten_vote_is_found: VoteForgotten,
    a_request_done_twice_is_found: RequestsForgotten,
    a_replica_with_a_time_of_its_own_is_found: OwnTime,
    a_snapshot_that_lacks_something_is_found: SnapshotWithoutRequests,
    an_unconfirmed_read_is_found: ReadUnconfirmed,
    an_unchecked_placement_is_found: PlacementUnchecked,
    a_task_that_goes_back_is_found: ReportsGoBack,
    a_shared_slot_is_found: SlotShared,
    a_hasty_verdict_is_found: NoGrace,
    a_dispatcher_that_forgets_is_found: HoldingsForgotten,
    sessions_counted_anew_are_found: SessionsCountedAnew,
    an_overlooked_loss_is_found: LostNodeOverlooked,
}
