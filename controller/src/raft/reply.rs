//! Answers to requests, and the errors they can carry.

use std::fmt;

use super::status::RaftStatus;

/// Where an answer goes. Called at most once; dropped without a call when the replica stops.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// A command that was committed and applied here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied<T> {
    /// Its place in the log.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// What the state machine answered.
    pub output: T,
}

/// Why a proposal has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was proposed: only the leader can.
    #[error("not the leader{}; send the request to the leader", leader_hint(*.leader))]
    NotLeader {
        /// The leader as far as this replica knows.
        leader: Option<u64>,
    },
    /// Nothing was proposed: too much is waiting already.
    #[error("overloaded: too many changes are waiting to be committed; try again later")]
    Overloaded,
    /// Nothing was proposed: the disk is nearly full.
    #[error(
        "the leader's disk is nearly full ({} MiB left); free space on the file system of its data directory, \
         then send the change again", .free >> 20
    )]
    NoSpace {
        /// Bytes that are left.
        free: u64,
    },
    /// Nothing was proposed: the command is larger than the log takes.
    #[error("the change is {size} bytes long, more than the limit of {limit} bytes; split it")]
    TooLarge {
        /// The command's size.
        size: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// Nothing was proposed: an empty command means nothing.
    #[error("the change is empty")]
    Empty,
    /// Another leader's entry took the command's place: it was not applied and never will be.
    #[error("the change was displaced by a new leader's and did not happen; send it again")]
    Superseded,
    /// Leadership was lost before the command was seen committed: it may or may not happen.
    #[error("leadership was lost before the change was confirmed; repeat it with the same request id")]
    Unknown,
    /// The replica has stopped; a command that was under way may or may not happen.
    #[error("this controller is stopping; repeat the change at another with the same request id")]
    Stopped,
}

impl ProposeError {
    /// Whether the command certainly did not and will not happen, so that sending it again can't
    /// make it happen twice.
    #[must_use]
    pub fn did_not_happen(&self) -> bool {
        !matches!(self, Self::Unknown | Self::Stopped)
    }
}

/// Why a linearizable read can't be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed the read in time.
    #[error("no leader with a quorum answered in time{}; try again", leader_hint(*.leader))]
    NoQuorum {
        /// The leader that was asked last.
        leader: Option<u64>,
    },
    /// Too many reads wait already.
    #[error("overloaded: too many reads are waiting; try again later")]
    Overloaded,
    /// The replica has stopped.
    #[error("this controller is stopping; read from another")]
    Stopped,
}

/// Why the set of members was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The change went the way of a proposal.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// One change at a time.
    #[error("another membership change is under way; try again when it is done")]
    InProgress,
    /// The change makes no sense for the present members.
    #[error("{0}")]
    Refused(String),
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only a leader can hand over.
    #[error("not the leader{}", leader_hint(*.leader))]
    NotLeader {
        /// The leader as far as this replica knows.
        leader: Option<u64>,
    },
    /// The chosen member can't lead.
    #[error("controller {0} is not a voter; promote it first")]
    NotVoter(u64),
    /// It didn't take over within an election timeout.
    #[error("controller {0} did not take over in time; it may be unreachable or far behind")]
    TimedOut(u64),
    /// The replica has stopped.
    #[error("this controller is stopping")]
    Stopped,
}

fn leader_hint(leader: Option<u64>) -> impl fmt::Display {
    match leader {
        Some(id) => format!(" (it is controller {id})"),
        None => " (none is known)".to_owned(),
    }
}

/// The members after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The index of the entry that made them so.
    pub index: u64,
    /// Voters, sorted.
    pub voters: Vec<u64>,
    /// Learners, sorted.
    pub learners: Vec<u64>,
}

impl From<&RaftStatus> for Members {
    fn from(status: &RaftStatus) -> Self {
        Self { index: status.applied, voters: status.voters.clone(), learners: status.learners.clone() }
    }
}
