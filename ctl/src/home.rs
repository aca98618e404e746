//! Where a client's addresses come from, and are kept: the context learns of all controllers from any one of them, so
//! that the next command finds the cluster though the ones it knew have died.

use crate::{
    client::{all, controllers},
    contexts::Contexts,
};
use tonic::transport::Channel;
use wharf_identity::{Connected, Dialer};
use wharf_proto::v1::{Kind, control_api_client::ControlApiClient};

/// The context that a client was opened with.
pub struct Home {
    /// All contexts.
    pub contexts: Contexts,
    /// Name of this one.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
}

impl Home {
    /// Asks a controller for the others, for this command and for later ones. It is no matter if that fails: what is
    /// known was good enough to connect.
    pub async fn learn(self, connected: Connected, dialer: Dialer) {
        let Some(told) = ask(connected.channel).await else { return };
        let addresses = merge(&self.addresses, &connected.address, told);
        if addresses == self.addresses {
            return;
        }
        dialer.set_addresses(addresses.clone());
        // As it is now: another command may have changed it.
        if let Ok(mut context) = self.contexts.load(&self.name)
            && context.addresses == self.addresses
        {
            context.addresses = addresses;
            // A folder that can't be written is told of where somebody wants to write to it.
            let _ = self.contexts.save(&context);
        }
    }
}

async fn ask(channel: Channel) -> Option<Vec<String>> {
    // Not stale: one that was cut off from the others would tell of those that there once were.
    let answer = ControlApiClient::new(channel).get(all(Kind::Controller)).await.ok()?;
    let told = controllers(answer.into_inner().objects);
    Some(
        told.into_iter().map(|controller| controller.address).filter(|address| !address.is_empty()).collect(),
    )
}

/// The addresses to keep, those that were known in their old order. A controller that we reach by another address than
/// its own is behind something: then what is known is right for us, though the cluster doesn't say so.
fn merge(known: &[String], connected: &str, told: Vec<String>) -> Vec<String> {
    let direct = told.iter().any(|address| address == connected);
    let kept = |address: &&String| !direct || told.contains(address);
    let mut merged: Vec<String> = known.iter().filter(kept).cloned().collect();
    for address in told {
        if !merged.contains(&address) {
            merged.push(address);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(known: &[&str], connected: &str, told: &[&str]) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        merge(&owned(known), connected, owned(told))
    }

    #[test]
    fn new_controllers_are_added_and_old_ones_dropped() {
        assert_eq!(merged(&["a"], "a", &["c", "a", "b"]), ["a", "c", "b"]);
        assert_eq!(merged(&["b", "gone", "a"], "a", &["a", "b"]), ["b", "a"]);
    }

    #[test]
    fn addresses_that_the_cluster_does_not_know_of_are_kept_if_they_are_the_way_in() {
        assert_eq!(merged(&["tunnel", "tunnel2"], "tunnel", &["a", "b"]), ["tunnel", "tunnel2", "a", "b"]);
        assert_eq!(merged(&["a"], "a", &[]), ["a"]);
    }
}
