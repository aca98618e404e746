//! Has the dispatcher follow what happens.

use super::{super::Ended, term::Term};
use crate::{
    raft::ProposeError,
    replica::{Change, Changes},
};
use std::sync::Arc;

pub(super) async fn run(term: Arc<Term>, mut changes: Changes) -> Ended {
    loop {
        let change = changes.next().await.ok_or(ProposeError::Stopped)?;
        term.with(|dispatch, state, _| match &change {
            Change::Batch(batch) => batch.events.iter().for_each(|event| dispatch.observe(state, event)),
            Change::Everything => dispatch.observe_everything(state),
        });
    }
}
