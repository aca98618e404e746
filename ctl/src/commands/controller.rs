//! `wharf controller`.

use super::{confirm, get};
use crate::{
    cli::Controller,
    client::{Client, all, request_id},
    failure::Result,
    output::say,
};
use wharf_proto::v1::{Kind, RemoveControllerRequest, SetControllerVotesRequest, TransferLeadershipRequest};

/// Lists, removes, promotes or demotes controllers, or hands leadership over.
///
/// # Errors
/// When the cluster refuses.
pub async fn controller(client: &Client, what: Controller) -> Result<()> {
    match what {
        Controller::Ls { output } => get::list(client, &all(Kind::Controller), output).await,
        Controller::Rm { controller, force, yes } => {
            confirm(&format!("Take controller {controller} out of the cluster?"), yes).await?;
            let request =
                RemoveControllerRequest { request_id: request_id(), controller: controller.clone(), force };
            client
                .write(request, |mut api, request| async move { api.remove_controller(request).await })
                .await?;
            say(&format!("controller {controller} is out; stop its program, and remove its data"))
        }
        Controller::Promote { controller } => {
            set_votes(client, &controller, true).await?;
            say(&format!("controller {controller} votes"))
        }
        Controller::Demote { controller } => {
            set_votes(client, &controller, false).await?;
            say(&format!("controller {controller} votes no longer; it keeps a copy, and serves"))
        }
        Controller::TransferLeader { controller } => {
            let request =
                TransferLeadershipRequest { request_id: request_id(), controller: controller.clone() };
            client
                .write(request, |mut api, request| async move { api.transfer_leadership(request).await })
                .await?;
            say(&format!("controller {controller} leads"))
        }
    }
}

async fn set_votes(client: &Client, controller: &str, votes: bool) -> Result<()> {
    let request =
        SetControllerVotesRequest { request_id: request_id(), controller: controller.to_owned(), votes };
    client
        .write(request, |mut api, request| async move { api.set_controller_votes(request).await })
        .await
        .map(drop)
}
