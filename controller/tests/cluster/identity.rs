//! Who is let in, and who isn't.

use crate::{
    agent::{Agent, description},
    harness::{Cluster, TIMINGS, eventually, nodes, request_id},
};
use std::time::Duration;
use tonic::Code;
use wharf_controller::settings::{Start, Timings};
use wharf_identity::{
    CredentialsCell, IdentityFolder, JoinDetails, JoinError, JoinToken, Joined, Role, connect, join, renew,
};
use wharf_proto::v1::{
    AgentMessage, GetRequest, Kind, RaftMessages, RemoveNodeRequest, RotateTokenRequest,
    agent_api_client::AgentApiClient, control_api_client::ControlApiClient, raft_api_client::RaftApiClient,
};

fn details(role: Role, name: &str) -> JoinDetails {
    JoinDetails {
        role,
        name: name.to_owned(),
        advertise_address: "127.0.0.1:5000".to_owned(),
        names: vec!["registry.example".to_owned()],
        description: (role == Role::Agent).then(|| description(name)),
        level: 0,
    }
}

async fn try_join(cluster: &Cluster, token: &str, role: Role) -> Result<Joined, JoinError> {
    // As a joiner that doesn't look at its token: the controller has to.
    let mut token: JoinToken = token.parse().unwrap();
    token.role = role;
    let folder = IdentityFolder::new(cluster.folder().join("joiner"));
    join(&cluster.addresses(), &token, details(role, "joiner"), &folder).await
}

fn refusal(joined: Result<Joined, JoinError>) -> String {
    match joined {
        Err(JoinError::Refused { message, .. }) => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_for_its_role_until_it_is_rotated() {
    let cluster = Cluster::start(1).await;
    let mut client = cluster.client(0).await;
    let token = cluster.token("agent").await;

    let joined = try_join(&cluster, &token, Role::Agent).await.unwrap();
    assert_eq!(joined.controllers, [cluster.address(0)]);
    let id = &joined.credentials.identity().id;
    assert_eq!(&nodes(&mut client).await.unwrap()[0].id, id);

    let wrong_role = refusal(try_join(&cluster, &token, Role::Registry).await);
    assert!(wrong_role.contains("wharf token show --role registry"), "{wrong_role}");

    let mut unknown: JoinToken = token.parse().unwrap();
    unknown.secret = wharf_identity::TokenSecret::generate().unwrap();
    let unknown = refusal(try_join(&cluster, &unknown.to_string(), Role::Agent).await);
    assert!(unknown.contains("not valid"), "{unknown}");

    let rotate = RotateTokenRequest { request_id: request_id(), role: "agent".to_owned(), ttl: 60_000 };
    let rotated = client.rotate_token(rotate.clone()).await.unwrap().into_inner();
    // A retry doesn't rotate again.
    assert_eq!(client.rotate_token(rotate).await.unwrap().into_inner(), rotated);
    let replaced = refusal(try_join(&cluster, &token, Role::Agent).await);
    assert!(replaced.contains("rotated"), "{replaced}");
    try_join(&cluster, &rotated.token, Role::Agent).await.unwrap();

    let brief = RotateTokenRequest { request_id: request_id(), role: "agent".to_owned(), ttl: 1 };
    let brief = client.rotate_token(brief).await.unwrap().into_inner();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let expired = refusal(try_join(&cluster, &brief.token, Role::Agent).await);
    assert!(expired.contains("expired"), "{expired}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_may_ask_any_controller() {
    let mut cluster = Cluster::start(2).await;
    let follower = cluster.follower().await;
    let token: JoinToken = cluster.token("registry").await.parse().unwrap();
    let folder = IdentityFolder::new(cluster.folder().join("registry"));
    let asked = [cluster.address(follower)];
    let joined = join(&asked, &token, details(Role::Registry, "hub"), &folder).await.unwrap();
    assert_eq!(joined.credentials.identity().id, "hub");
    assert_eq!(joined.controllers.len(), 2);

    let token: JoinToken = cluster.token("controller").await.parse().unwrap();
    let start = Start::Join { addresses: asked.to_vec(), token };
    cluster.add(start, TIMINGS).await.unwrap();
    cluster.wait_for_voters(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_role_is_refused() {
    let cluster = Cluster::start(1).await;
    let agent = Agent::start(&cluster, "one").await;
    let admin = CredentialsCell::new(cluster.context().credentials().unwrap());
    let (as_agent, as_admin) = (
        connect(&cluster.address(0), &agent.cell).await.unwrap(),
        connect(&cluster.address(0), &admin).await.unwrap(),
    );
    let get = GetRequest { kind: Kind::Node.into(), ..GetRequest::default() };
    let refused = ControlApiClient::new(as_agent.clone()).get(get).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("an admin"), "{refused}");
    let nothing = tokio_stream::empty::<AgentMessage>();
    let refused = AgentApiClient::new(as_admin.clone()).session(nothing).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for channel in [as_agent, as_admin] {
        let nothing = tokio_stream::empty::<RaftMessages>();
        let refused = RaftApiClient::new(channel).exchange(nothing).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_becomes_somebody_else_by_saying_so() {
    let cluster = Cluster::start(1).await;
    let agent = Agent::start(&cluster, "one").await;
    let channel = connect(&cluster.address(0), &agent.cell).await.unwrap();
    let mut request = tonic::Request::new(GetRequest { kind: Kind::Node.into(), ..GetRequest::default() });
    request.metadata_mut().insert("wharf-forwarded-for", "admin admin".parse().unwrap());
    let refused = ControlApiClient::new(channel).get(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_has_no_session_and_no_new_certificate() {
    let cluster = Cluster::start(1).await;
    let agent = Agent::start(&cluster, "one").await;
    let credentials = agent.cell.get();
    let channel = connect(&cluster.address(0), &agent.cell).await.unwrap();
    let renewed = renew(&credentials, channel.clone()).await.unwrap();
    assert_eq!(renewed.identity(), credentials.identity());

    let mut client = cluster.client(0).await;
    let remove = |force| RemoveNodeRequest { request_id: request_id(), node: "one".to_owned(), force };
    assert_eq!(client.remove_node(remove(false)).await.unwrap_err().code(), Code::FailedPrecondition);
    client.remove_node(remove(true)).await.unwrap();
    agent
        .wait("the session is refused", |seen| {
            seen.ended.as_ref().is_some_and(|ended| ended.code() == Code::PermissionDenied)
        })
        .await;
    let refused = renew(&credentials, channel).await.unwrap_err().to_string();
    assert!(refused.contains("removed from the cluster"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controllers_renew_before_their_certificates_expire() {
    let timings = Timings { certificate_lifetime: Duration::from_secs(6), ..TIMINGS };
    let cluster = Cluster::with_timings(2, timings).await;
    for member in 0..2 {
        let first = cluster.controller(member).credentials().get().not_after();
        eventually("a new certificate", || async {
            (cluster.controller(member).credentials().get().not_after() > first).then_some(())
        })
        .await;
    }
    cluster.wait_for_voters(2).await;
}
