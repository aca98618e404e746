//! Which changes of the assignment follow on what is held: pure.

use wharf_proto::v1::Generation;

use super::End;

/// A session's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The leader's term.
    pub term: u64,
    /// The leader's number for the session.
    pub session: u64,
    /// The last change that was taken in this session; none before the full assignment.
    pub sequence: Option<u64>,
}

impl Place {
    /// A session that was welcomed, unless its controller has been deposed.
    ///
    /// # Errors
    /// When it has been.
    pub fn begin(term: u64, session: u64, held: &Generation) -> Result<Self, End> {
        if term < held.term {
            return Err(End::Deposed { theirs: term, ours: held.term });
        }
        Ok(Place { term, session, sequence: None })
    }

    /// Takes a full assignment.
    ///
    /// # Errors
    /// When it is another session's, or older than what was taken.
    pub fn full(&mut self, generation: Option<Generation>) -> Result<Generation, End> {
        let generation = self.ours(generation)?;
        if self.sequence.is_some_and(|sequence| generation.sequence <= sequence) {
            return Err(End::Gap(self.sequence.unwrap_or_default()));
        }
        self.sequence = Some(generation.sequence);
        Ok(generation)
    }

    /// Takes a difference, if it follows on what was taken.
    ///
    /// # Errors
    /// When it doesn't, or is another session's.
    pub fn difference(&mut self, generation: Option<Generation>) -> Result<Generation, End> {
        let generation = self.ours(generation)?;
        match self.sequence {
            Some(sequence) if generation.sequence == sequence + 1 => {
                self.sequence = Some(generation.sequence);
                Ok(generation)
            }
            other => Err(End::Gap(other.unwrap_or_default())),
        }
    }

    fn ours(&self, generation: Option<Generation>) -> Result<Generation, End> {
        let generation = generation.ok_or(End::Protocol("an assignment without a generation"))?;
        if generation.term < self.term {
            return Err(End::Deposed { theirs: generation.term, ours: self.term });
        }
        if (generation.term, generation.session) != (self.term, self.session) {
            return Err(End::Protocol("an assignment of another session"));
        }
        Ok(generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(term: u64, session: u64, sequence: u64) -> Option<Generation> {
        Some(Generation { term, session, sequence })
    }

    #[test]
    fn a_deposed_controller_is_refused() {
        let held = Generation { term: 5, session: 9, sequence: 40 };
        assert!(matches!(Place::begin(4, 10, &held), Err(End::Deposed { theirs: 4, ours: 5 })));
        let mut place = Place::begin(6, 1, &held).unwrap();
        assert!(matches!(place.full(generation(5, 1, 1)), Err(End::Deposed { .. })));
        assert!(matches!(place.full(generation(6, 2, 1)), Err(End::Protocol(_))));
        assert!(matches!(place.full(None), Err(End::Protocol(_))));
    }

    #[test]
    fn changes_must_follow_on_one_another() {
        let mut place = Place::begin(1, 1, &Generation::default()).unwrap();
        assert!(matches!(place.difference(generation(1, 1, 1)), Err(End::Gap(0))));
        place.full(generation(1, 1, 1)).unwrap();
        place.difference(generation(1, 1, 2)).unwrap();
        assert!(matches!(place.difference(generation(1, 1, 4)), Err(End::Gap(2))));
        assert!(matches!(place.difference(generation(1, 1, 2)), Err(End::Gap(2))));
        assert_eq!(place.full(generation(1, 1, 7)).ok(), generation(1, 1, 7));
    }
}
