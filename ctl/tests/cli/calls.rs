//! Exit codes, retries, and going on at another controller.

use crate::cluster::{Cluster, User, issue, service};
use std::{net::SocketAddr, time::SystemTime};
use tokio::net::TcpSocket;
use tonic::Code;
use wharf_identity::{Authority, ClientContext, Role};

#[tokio::test]
async fn what_makes_no_sense_exits_2() {
    let user = User::new();
    for args in [&["get", "ships"][..], &["scale"], &["get", "nodes"]] {
        let ran = user.wharf(args).await.expect(2);
        assert_eq!(ran.out, "", "{args:?}");
        assert!(ran.err.starts_with("error: "), "{args:?}: {}", ran.err);
    }
    let cluster = Cluster::start(1).await;
    let ran = cluster.wharf(&["scale", "shop/web"]).await.expect(2);
    assert_eq!(ran.err, "error: \"shop/web\" is not SERVICE=NUMBER\n");
}

#[tokio::test]
async fn where_nobody_listens_it_exits_3() {
    // Bound but not listening: the port stays ours, and connections are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let authority = Authority::create("c1", SystemTime::now()).unwrap();
    let user = User::new();
    let admin = issue(&authority, Role::Admin, "admin");
    user.add_context(&ClientContext::new("default", vec![address.clone()], &admin));
    let ran = user.wharf(&["get", "nodes", "--timeout", "300ms"]).await.expect(3);
    assert!(ran.err.contains(&address) && ran.err.contains("wharf context ls"), "{}", ran.err);
}

#[tokio::test]
async fn what_is_not_there_exits_4() {
    let cluster = Cluster::start(1).await;
    let ran = cluster.wharf(&["get", "nodes", "a9"]).await.expect(4);
    assert_eq!(ran.err, "error: there is no a9\n");
    cluster.wharf(&["scale", "web=2"]).await.expect(4);
    cluster.script().refusals.push(("remove stack", Code::NotFound));
    cluster.wharf(&["rm", "shop", "--yes"]).await.expect(4);
}

#[tokio::test]
async fn what_another_changed_meanwhile_exits_5() {
    let cluster = Cluster::start(1).await;
    cluster.script().refusals.push(("labels", Code::Aborted));
    cluster.wharf(&["node", "label", "a1", "disk=ssd"]).await.expect(5);
    assert_eq!(cluster.script().writes.len(), 1, "a conflict is not tried again");
}

#[tokio::test]
async fn a_write_that_is_tried_again_elsewhere_keeps_its_request_id() {
    let cluster = Cluster::start(2).await;
    cluster.script().refusals.push(("labels", Code::Unavailable));
    let both = format!("{},{}", cluster.address(0), cluster.address(1));
    cluster.wharf(&["node", "label", "a1", "disk=ssd", "--controller", &both]).await.expect(0);
    cluster.wharf(&["node", "label", "a1", "disk=ssd"]).await.expect(0);
    let writes = cluster.script().writes.clone();
    let [(first, id), (second, same), (_, other)] = &writes[..] else { panic!("{writes:?}") };
    assert_eq!((first, second, id.len()), (&0, &1, 16));
    assert_eq!(id, same);
    assert_ne!(id, other);
}

#[tokio::test]
async fn the_context_learns_of_other_controllers_and_outlives_the_first() {
    let mut cluster = Cluster::start(3).await;
    assert_eq!(cluster.known_addresses().len(), 1);
    cluster.wharf(&["get", "nodes"]).await.expect(0);
    let all: Vec<String> = (0..3).map(|number| cluster.address(number).to_owned()).collect();
    assert_eq!(cluster.known_addresses(), all);
    cluster.stop(0).await;
    cluster.wharf(&["get", "nodes"]).await.expect(0);
}

#[tokio::test]
async fn a_command_that_names_controllers_leaves_the_context_alone() {
    let cluster = Cluster::start(2).await;
    cluster.wharf(&["get", "nodes", "--controller", cluster.address(1)]).await.expect(0);
    assert_eq!(cluster.known_addresses(), [cluster.address(0)]);
}

#[tokio::test]
async fn short_names_are_good_where_they_are_unique() {
    let cluster = Cluster::start(1).await;
    let others = [service("blog/db", 1, 1), service("shop/db", 1, 1)];
    cluster.script().objects.extend([service("shop/web", 1, 1)].into_iter().chain(others));
    cluster.wharf(&["scale", "web=3", "--detach"]).await.expect(0);
    let scaled = cluster.script().scaled.pop().unwrap().replicas;
    assert_eq!(scaled, [("shop/web".to_owned(), 3)].into());
    let ran = cluster.wharf(&["scale", "db=3"]).await.expect(2);
    assert!(ran.err.contains("blog/db or shop/db"), "{}", ran.err);
}

#[tokio::test]
async fn only_the_token_goes_to_standard_output() {
    let cluster = Cluster::start(1).await;
    let ran = cluster.wharf(&["token", "show", "--role", "agent"]).await.expect(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("token-of-agent\n", ""));
    let ran = cluster.wharf(&["token", "rotate", "--role", "controller", "--ttl", "1h"]).await.expect(0);
    assert_eq!(ran.out, "new-token-of-controller\n");
}
