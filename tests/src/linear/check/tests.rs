//! Histories made by hand: the checker takes the good ones and finds the wrong ones.

use super::*;

struct Story(Vec<Operation>);

impl Story {
    fn new() -> Self {
        Story(Vec::new())
    }

    fn then(mut self, client: u64, times: (u64, u64), call: Call, outcome: Outcome) -> Self {
        let (start, end) = times;
        self.0.push(Operation { client, key: "k".to_owned(), call, start, end, outcome, controller: 0 });
        self
    }

    fn write(self, client: u64, times: (u64, u64), value: u64, version: u64) -> Self {
        self.then(client, times, Call::Write { value }, Outcome::Done { version })
    }

    fn lost(self, client: u64, times: (u64, u64), value: u64) -> Self {
        self.then(client, times, Call::Write { value }, Outcome::Unknown)
    }

    fn read(self, client: u64, times: (u64, u64), value: u64, version: u64) -> Self {
        self.then(client, times, Call::Read, Outcome::Read { value: Some(value), version })
    }

    fn cas(self, client: u64, times: (u64, u64), (expected, value): (u64, u64), outcome: Outcome) -> Self {
        self.then(client, times, Call::Cas { expected, value }, outcome)
    }

    fn verdict(&self) -> Verdict {
        check(&self.0.iter().collect::<Vec<_>>())
    }

    fn is_good(&self) {
        assert_eq!(self.verdict(), Verdict::Linearizable);
    }

    fn is_wrong(&self) {
        assert!(matches!(self.verdict(), Verdict::Violated(_)), "{:?}", self.verdict());
    }
}

const DONE: fn(u64) -> Outcome = |version| Outcome::Done { version };

#[test]
fn what_happens_one_after_another_is_good() {
    Story::new()
        .then(1, (0, 1), Call::Read, Outcome::Read { value: None, version: 0 })
        .cas(1, (2, 3), (0, 10), DONE(4))
        .read(2, (4, 5), 10, 4)
        .cas(2, (6, 7), (3, 11), Outcome::Conflict)
        .write(1, (8, 9), 12, 6)
        .read(2, (10, 11), 12, 6)
        .is_good();
}

#[test]
fn a_stale_read_is_found() {
    let story = Story::new().write(1, (0, 1), 10, 1).write(1, (2, 3), 11, 2);
    Story(story.0.clone()).read(2, (4, 5), 10, 1).is_wrong();
    // At the same time as the second write it is not stale.
    let mut story = story;
    story.0[1].end = 5;
    story.read(2, (3, 4), 10, 1).is_good();
}

#[test]
fn time_does_not_go_back_between_readers() {
    let story = |second| {
        Story::new()
            .write(1, (0, 1), 10, 1)
            .lost(1, (2, 20), 11)
            .read(2, (3, 4), 11, 2)
            .read(3, second, 10, 1)
    };
    story((5, 6)).is_wrong();
    story((3, 6)).is_good();
}

#[test]
fn a_lost_update_is_found() {
    // Two check-and-sets against one version, both acknowledged.
    Story::new()
        .write(1, (0, 1), 10, 1)
        .cas(1, (2, 6), (1, 11), DONE(2))
        .cas(2, (2, 6), (1, 12), DONE(3))
        .is_wrong();
    // An acknowledged write that nobody finds.
    Story::new().write(1, (0, 1), 10, 1).write(1, (2, 3), 11, 2).read(2, (4, 5), 10, 1).is_wrong();
    Story::new()
        .write(1, (0, 1), 10, 1)
        .then(2, (4, 5), Call::Read, Outcome::Read { value: None, version: 0 })
        .is_wrong();
}

#[test]
fn a_write_that_happens_twice_is_found() {
    Story::new()
        .lost(1, (0, 1), 10)
        .read(2, (2, 3), 10, 1)
        .write(2, (4, 5), 11, 2)
        .read(3, (6, 7), 10, 3)
        .is_wrong();
    Story::new()
        .lost(1, (0, 1), 10)
        .write(2, (4, 5), 11, 2)
        .read(2, (6, 7), 11, 2)
        .read(3, (8, 9), 10, 1)
        .is_wrong();
}

#[test]
fn what_has_no_answer_may_happen_late_or_never() {
    let before = || Story::new().write(1, (0, 1), 10, 1).lost(2, (2, 3), 11);
    before().read(3, (4, 5), 10, 1).is_good();
    before().read(3, (4, 5), 10, 1).read(3, (6, 7), 11, 2).is_good();
    before().read(3, (4, 5), 11, 2).read(3, (6, 7), 10, 1).is_wrong();
    // Only a write that nobody saw explains this refusal, and then the old value is gone.
    before().cas(3, (4, 5), (1, 12), Outcome::Conflict).is_good();
    before().cas(3, (4, 5), (1, 12), Outcome::Conflict).write(3, (6, 7), 13, 5).is_good();
    before().cas(3, (4, 5), (1, 12), Outcome::Conflict).read(3, (6, 7), 10, 1).is_wrong();
    Story::new().write(1, (0, 1), 10, 1).cas(3, (4, 5), (1, 12), Outcome::Conflict).is_wrong();
}

#[test]
fn what_failed_did_not_happen() {
    let story =
        Story::new().write(1, (0, 1), 10, 1).then(2, (2, 3), Call::Write { value: 11 }, Outcome::Failed);
    Story(story.0.clone()).read(1, (4, 5), 10, 1).is_good();
    story.read(1, (4, 5), 11, 2).is_wrong();
}

#[test]
fn a_long_history_is_decided_either_way() {
    // Five clients at once, in every window: without a memory the search for what is wrong would never end.
    let mut story = Story::new();
    for round in 0..40 {
        let at = round * 100;
        let version = round + 1;
        story = story.write(0, (at, at + 50), 1000 + round, version);
        for client in 1..5 {
            story = story.read(client, (at + 60, at + 90), 1000 + round, version);
        }
    }
    Story(story.0.clone()).is_good();
    let story = story.read(9, (1992, 1995), 1000, 1);
    let Verdict::Violated(reason) = story.verdict() else { panic!("{:?}", story.verdict()) };
    assert!(reason.contains("client   9"), "{reason}");
    assert!(!reason.contains("Write { value: 1038 }"), "only up to what is wrong: {reason}");
}
