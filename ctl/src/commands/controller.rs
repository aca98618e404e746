//! `wharf controller`.

use crate::{
    cli::{Controller, Format},
    client::{Client, all, request_id},
    failure::Result,
    output,
};
use wharf_proto::v1::{Kind, RemoveControllerRequest, TransferLeadershipRequest};

/// Lists or removes controllers, or hands leadership over.
///
/// # Errors
/// When the cluster refuses.
pub async fn controller(client: &Client, what: Controller) -> Result<()> {
    match what {
        Controller::Ls => output::print(&client.get(&all(Kind::Controller)).await?, Format::Table, true),
        Controller::Rm { controller } => {
            let request = RemoveControllerRequest { request_id: request_id(), controller };
            client
                .call(|mut api| {
                    let request = request.clone();
                    async move { api.remove_controller(request).await }
                })
                .await?;
            Ok(())
        }
        Controller::Transfer { controller } => {
            let request = TransferLeadershipRequest { request_id: request_id(), controller };
            client
                .call(|mut api| {
                    let request = request.clone();
                    async move { api.transfer_leadership(request).await }
                })
                .await?;
            Ok(())
        }
    }
}
