//! One operation, asked of either system over one kind of client.

use crate::etcd::v3::{PutRequest, RangeRequest, kv_client::KvClient};
use bytes::Bytes;
use tonic::{Status, transport::Channel};
use wharf_proto::v1::{GetRequest, Kind, SetNodeLabelsRequest, control_api_client::ControlApiClient};

/// The size of what is written, as etcd's own benchmarks have it.
const VALUE: usize = 100;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A small value is written.
    Write,
    /// It is read, linearizably.
    Read,
}

/// A connection to a member, shared by several clients.
#[derive(Clone)]
pub enum Connection {
    /// To a controller.
    Wharf(ControlApiClient<Channel>),
    /// To an etcd member.
    Etcd(KvClient<Channel>),
}

impl Connection {
    /// Does one operation on the client's own key; `count` makes each written value another.
    pub async fn call(&mut self, operation: Operation, client: usize, count: u64) -> Result<(), Status> {
        match operation {
            Operation::Write => self.write(client, count).await,
            Operation::Read => self.read(client).await,
        }
    }

    async fn write(&mut self, client: usize, count: u64) -> Result<(), Status> {
        let value = format!("{count:0>VALUE$}");
        match self {
            Connection::Wharf(wharf) => wharf.set_node_labels(label(&node(client), value)).await.map(drop),
            Connection::Etcd(etcd) => {
                etcd.put(PutRequest { key: key(client), value: value.into() }).await.map(drop)
            }
        }
    }

    async fn read(&mut self, client: usize) -> Result<(), Status> {
        let found = match self {
            Connection::Wharf(wharf) => {
                let names = vec![node(client)];
                let request = GetRequest { kind: Kind::Node.into(), names, ..GetRequest::default() };
                wharf.get(request).await?.into_inner().objects.len()
            }
            Connection::Etcd(etcd) => {
                etcd.range(RangeRequest { key: key(client) }).await?.into_inner().kvs.len()
            }
        };
        if found == 1 { Ok(()) } else { Err(Status::internal(format!("{found} objects instead of one"))) }
    }
}

/// The request that gives a node's label `bench` this value.
pub fn label(node: &str, value: String) -> SetNodeLabelsRequest {
    SetNodeLabelsRequest {
        request_id: request_id(),
        node: node.to_owned(),
        set: [("bench".to_owned(), value)].into(),
        remove: Vec::new(),
    }
}

/// A new request id.
fn request_id() -> Bytes {
    Bytes::copy_from_slice(&fastrand::u128(..).to_be_bytes())
}

/// The name of a client's own node.
pub fn node(client: usize) -> String {
    format!("bench-{client}")
}

fn key(client: usize) -> Bytes {
    format!("/bench/{client}").into()
}
