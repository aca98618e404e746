//! `wharf controller`.

use super::{confirm, get};
use crate::{
    cli::Controller,
    client::{Client, all, request_id},
    failure::Result,
    output::say,
};
use wharf_proto::v1::{Kind, RemoveControllerRequest, TransferLeadershipRequest};

/// Lists or removes controllers, or hands leadership over.
///
/// # Errors
/// When the cluster refuses.
pub async fn controller(client: &Client, what: Controller) -> Result<()> {
    match what {
        Controller::Ls { output } => get::list(client, &all(Kind::Controller), output).await,
        Controller::Rm { controller, yes } => {
            confirm(&format!("Take controller {controller} out of the cluster?"), yes).await?;
            let request =
                RemoveControllerRequest { request_id: request_id(), controller: controller.clone() };
            client
                .write(request, |mut api, request| async move { api.remove_controller(request).await })
                .await?;
            say(&format!("controller {controller} is out; stop its program, and remove its data"))
        }
        Controller::Transfer { controller } => {
            let request =
                TransferLeadershipRequest { request_id: request_id(), controller: controller.clone() };
            client
                .write(request, |mut api, request| async move { api.transfer_leadership(request).await })
                .await?;
            say(&format!("controller {controller} leads"))
        }
    }
}
