//! Proposes what the dispatcher has to propose, and says when it was applied.

use super::{
    super::{Ended, decide::dispatch::Ticket},
    term::Term,
};
use futures::{StreamExt, stream::FuturesUnordered};
use std::sync::Arc;

pub(super) async fn run(term: Arc<Term>) -> Ended {
    let mut proposed = FuturesUnordered::new();
    loop {
        let (proposals, deadline) =
            term.with(|dispatch, state, now| (dispatch.proposals(state, now), dispatch.next_deadline()));
        for proposal in proposals {
            let proposer = &term.core.proposer;
            proposed
                .push(async move { proposer.insist_all(proposal.commands).await.map(|()| proposal.ticket) });
        }
        tokio::select! {
            () = term.due.notified() => {}
            Some(applied) = proposed.next() => {
                let ticket = applied?;
                term.with(|dispatch, _, _| dispatch.applied(ticket));
                if ticket == Ticket::Reports {
                    term.room.notify_waiters();
                }
            }
            () = tokio::time::sleep_until(term.instant(deadline)) => {}
        }
    }
}
