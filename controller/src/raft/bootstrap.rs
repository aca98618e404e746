//! The two ways in which an empty store becomes a replica's.

use ::raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType, HardState};
use protobuf_for_raft::Message as _;

use super::storage::{Batch, Store, StoreError, encode_entry};

/// Makes an empty store the log of a new cluster whose only member is `id`; its state machine learns
/// `context` with it.
///
/// The member is written as the log's first entry, so that members who join later learn of it in the
/// way in which they learn of any other.
///
/// # Errors
/// When the store belongs to a replica already, or can't be written.
pub fn bootstrap(store: &impl Store, id: u64, context: &[u8]) -> Result<(), StoreError> {
    let change = ConfChangeV2 {
        changes: vec![ConfChangeSingle { change_type: ConfChangeType::AddNode as i32, node_id: id }],
        context: context.to_vec(),
        ..ConfChangeV2::default()
    };
    let first = Entry {
        entry_type: EntryType::EntryConfChangeV2 as i32,
        term: 1,
        index: 1,
        data: change.encode_to_vec(),
        ..Entry::default()
    };
    let batch = Batch {
        hard_state: HardState { term: 1, vote: id, commit: 1 },
        entries: vec![encode_entry(&first)],
        ..Batch::default()
    };
    store.found(id, &batch)
}

/// Makes an empty store the log of a replica that is about to join a cluster: it knows nobody and
/// waits for the leader, who was asked to add it.
///
/// # Errors
/// When the store belongs to a replica already, or can't be written.
pub fn join(store: &impl Store, id: u64) -> Result<(), StoreError> {
    store.found(id, &Batch::default())
}
