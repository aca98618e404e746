//! A client that writes all the time, at whichever controller answers, and remembers what was acknowledged.

use crate::harness::{Client, Cluster, eventually, get, of_kind, request_id, shop};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use wharf_identity::{CredentialsCell, connect};
use wharf_proto::v1::{ApplyStackRequest, Kind, StackSpec, control_api_client::ControlApiClient, object};

/// A client under way.
pub struct Load {
    acknowledged: Arc<AtomicU64>,
    addresses: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    /// Starts writing to the controllers that there are.
    pub fn start(cluster: &Cluster) -> Self {
        let cell = CredentialsCell::new(cluster.context().credentials().unwrap());
        let addresses = Arc::new(Mutex::new(cluster.addresses()));
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn(write(cell, addresses.clone(), acknowledged.clone(), stop.clone()));
        Load { acknowledged, addresses, stop, task }
    }

    /// It may ask this controller too.
    pub fn knows(&self, address: String) {
        self.addresses.lock().push(address);
    }

    /// Waits until a few more writes were acknowledged.
    pub async fn progress(&self) {
        let before = self.acknowledged.load(Ordering::SeqCst);
        eventually("acknowledged writes", || async {
            assert!(!self.task.is_finished(), "the client has failed");
            (self.acknowledged.load(Ordering::SeqCst) >= before + 3).then_some(())
        })
        .await;
    }

    /// Ends, and finds everything that was acknowledged, once.
    pub async fn finish(self, cluster: &Cluster) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        assert!(acknowledged > 0);
        for (member, _) in cluster.running() {
            let found = get(&mut cluster.client(member).await, of_kind(Kind::Stack)).await.unwrap();
            let mut there = BTreeSet::new();
            for found in found {
                let Some(object::Object::Stack(stack)) = found.object else { panic!("not a stack") };
                if stack.name.starts_with("load") {
                    assert_eq!(stack.version, 1, "{} was written twice", stack.name);
                    there.insert(stack.name);
                }
            }
            for number in 0..acknowledged {
                assert!(there.contains(&format!("load{number}")), "write {number} of {acknowledged} is lost");
            }
        }
    }
}

async fn write(
    cell: CredentialsCell,
    addresses: Arc<Mutex<Vec<String>>>,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    let mut client: Option<Client> = None;
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        let number = acknowledged.load(Ordering::SeqCst);
        let spec = StackSpec { name: format!("load{number}"), ..shop(0) };
        let request =
            ApplyStackRequest { request_id: request_id(), spec: Some(spec), expected_version: Some(0) };
        // The same request until it is answered, now here, now there.
        loop {
            turn += 1;
            let address = {
                let addresses = addresses.lock();
                addresses[turn % addresses.len()].clone()
            };
            if client.is_none() {
                client = connect(&address, &cell).await.ok().map(ControlApiClient::new);
            }
            let answer = match &mut client {
                Some(client) => client.apply_stack(request.clone()).await,
                None => Err(Status::unavailable("no connection")),
            };
            match answer {
                Ok(_) => break,
                Err(status) => assert!(may_pass(&status), "{address}: {status:?}"),
            }
            client = None;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
        // The others want to write too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As clients judge it: the connection broke, or the controller can't answer now.
fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted => true,
        Code::Cancelled | Code::Unknown | Code::Internal => status.source().is_some(),
        _ => false,
    }
}
