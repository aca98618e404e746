//! The replicated log: raft-rs on `redb`, hosted by one thread, with an async handle.
//!
//! [`start`] runs a replica over a [`Store`] ([`LogStore`] on a real disk), a [`StateMachine`] and a
//! [`Transport`]. [`RaftCore`] is the same replica without threads, clock or I/O, for simulations.

mod bootstrap;
pub(crate) mod budget;
mod config;
mod driver;
mod handle;
mod logger;
pub mod message;
mod node;
mod offline;
mod reply;
mod snapshot_chunks;
mod space;
mod state_machine;
mod status;
pub mod storage;
mod transport;
mod writer;

pub use ::raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType};

pub use bootstrap::{bootstrap, join};
pub use config::{RaftConfig, SnapshotPolicy};
pub use driver::{RaftFailure, RaftThread, start};
pub use handle::{PeerError, RaftHandle};
pub use node::{
    CoreError, Effects, MembershipRequest, ProposeReply, RaftCore, RestoreJob, Restored, SendSnapshot,
    SnapshotJob, StepError, Write,
};
pub use offline::{LogMembers, OfflineLog, Piece, begin_at, term_beyond};
pub use reply::{Applied, ChangeError, Members, ProposeError, ReadError, Reply, TransferError};
pub use snapshot_chunks::{ArrivedSnapshot, ChunkError, MAX_SNAPSHOT_BYTES, OutgoingSnapshot, SnapshotInbox};
pub use space::Space;
pub use state_machine::{
    ApplyError, MemberChange, MemberChangeKind, RestoreError, SnapshotDecoder, SnapshotEncoder, StateMachine,
};
pub use status::{PeerProgress, PeerState, RaftStatus, Role};
pub use storage::{LogStore, Store, StoreError};
pub use transport::{Transport, Unreachable};
