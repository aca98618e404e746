//! Reading and watching.

use crate::{
    agent::Agent,
    harness::{Client, Cluster, apply, get, of_kind, running, shop, tasks},
};
use std::{collections::BTreeMap, time::Duration};
use tonic::{Code, Streaming};
use wharf_proto::v1::{GetRequest, Kind, WatchResponse, object::Object, watch_response::Change};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_exist_is_said_to_be_missing() {
    let cluster = Cluster::start(1).await;
    let mut client = cluster.client(0).await;
    apply(&mut client, shop(2)).await.unwrap();
    for (kind, name) in [
        (Kind::Stack, "none"),
        (Kind::Service, "shop/none"),
        (Kind::Task, "shop/web.9"),
        (Kind::Node, "none"),
        (Kind::Controller, "none"),
    ] {
        let request = GetRequest { names: vec![name.to_owned()], ..of_kind(kind) };
        let missing = get(&mut client, request).await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
        assert!(missing.message().contains(name), "{missing}");
    }
    let request = GetRequest { names: vec!["shop/web".to_owned()], ..of_kind(Kind::Service) };
    assert_eq!(get(&mut client, request).await.unwrap().len(), 1);
    assert_eq!(get(&mut client, GetRequest::default()).await.unwrap_err().code(), Code::InvalidArgument);
    let elsewhere = GetRequest { stack: "other".to_owned(), ..GetRequest::default() };
    assert!(tasks(&mut client, elsewhere).await.unwrap().is_empty());
}

/// Follows a watch and keeps what it shows, until `done`.
async fn shown(
    watch: &mut Streaming<WatchResponse>,
    names: &mut BTreeMap<String, String>,
    done: impl Fn(&BTreeMap<String, String>) -> bool,
) {
    let follow = async {
        while !done(names) {
            let change = watch.message().await.unwrap().expect("the watch ended");
            let kind = change.change();
            let Some(Object::Task(task)) = change.object.and_then(|object| object.object) else { continue };
            if kind == Change::Removed {
                names.remove(&task.name)
            } else {
                names.insert(task.name, task.state)
            };
        }
    };
    tokio::time::timeout(Duration::from_secs(30), follow)
        .await
        .unwrap_or_else(|_| panic!("shown: {names:?}"));
}

async fn bookmark(watch: &mut Streaming<WatchResponse>) -> usize {
    let mut before = 0;
    loop {
        match watch.message().await.unwrap().unwrap().change() {
            Change::Bookmark => return before,
            _ => before += 1,
        }
    }
}

async fn watch(client: &mut Client) -> Streaming<WatchResponse> {
    client.watch(of_kind(Kind::Task)).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_shows_what_there_is_and_then_every_change() {
    let cluster = Cluster::start(2).await;
    let _agent = Agent::start(&cluster, "one").await;
    // On a follower, which learns of changes as it applies them.
    let mut client = cluster.client(cluster.follower().await).await;
    let mut early = watch(&mut client).await;
    assert_eq!(bookmark(&mut early).await, 0);

    apply(&mut client, shop(3)).await.unwrap();
    let mut names = BTreeMap::new();
    let all_run =
        |names: &BTreeMap<String, String>| names.len() == 3 && names.values().all(|state| state == "running");
    shown(&mut early, &mut names, all_run).await;
    running(&client, 3).await;

    let mut late = watch(&mut client).await;
    assert_eq!(bookmark(&mut late).await, 3);

    apply(&mut client, shop(1)).await.unwrap();
    shown(&mut early, &mut names, |names| names.len() == 1).await;
    assert!(names.contains_key("shop/web.1"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_only_stale_reads_are_answered() {
    let mut cluster = Cluster::start(2).await;
    apply(&mut cluster.any_client().await, shop(1)).await.unwrap();
    let lost = cluster.follower().await;
    cluster.kill(lost).await;
    let mut client = cluster.any_client().await;
    let refused = get(&mut client, of_kind(Kind::Service)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("--stale"), "{refused}");
    let stale = GetRequest { stale: true, ..of_kind(Kind::Service) };
    assert_eq!(get(&mut client, stale).await.unwrap().len(), 1);
}
