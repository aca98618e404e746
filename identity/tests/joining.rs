//! Joining with a token, and renewing what it gave, over real TLS.

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use support::{Controller, HOUR, dead_address, eventually, expired, issue};
use wharf_identity::{
    Authority, CredentialsCell, DialError, Dialer, IdentityFolder, JoinDetails, JoinError, JoinToken, Joined,
    Role, join, spawn_renewal,
};

fn details(role: Role, name: &str) -> JoinDetails {
    JoinDetails {
        role,
        name: name.to_owned(),
        advertise_address: String::new(),
        names: Vec::new(),
        description: None,
        level: 0,
    }
}

async fn join_as_agent(
    addresses: &[&str],
    token: &JoinToken,
) -> Result<(Joined, tempfile::TempDir), JoinError> {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = IdentityFolder::new(temporary.path());
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let joined = join(&addresses, token, details(Role::Agent, "n1"), &folder).await;
    if joined.is_err() {
        assert!(folder.load().expect("a readable folder").is_none(), "a failed join leaves nothing");
    }
    joined.map(|joined| (joined, temporary))
}

#[tokio::test]
async fn a_token_makes_a_member_through_whichever_controller_answers() {
    let controller = Controller::start().await;
    let dead = dead_address();
    let (joined, folder) = join_as_agent(&[&dead, &controller.address], &controller.token).await.unwrap();
    assert_eq!(joined.credentials.identity().to_string(), "agent n1");
    assert_eq!(joined.credentials.identity().cluster, "c1");
    assert_eq!((joined.raft_id, &joined.controllers[..]), (7, &["c1:7400".to_owned()][..]));
    let saved = IdentityFolder::new(folder.path()).load().unwrap().unwrap();
    assert_eq!(saved.cert_pem(), joined.credentials.cert_pem());

    // What it gave is good for calls.
    let cell = CredentialsCell::new(saved);
    let channel = wharf_identity::connect(&controller.address, &cell).await.unwrap();
    assert!(wharf_identity::renew(&cell.get(), channel).await.is_ok());
}

#[tokio::test]
async fn refusals_say_why_and_what_to_do() {
    let controller = Controller::start().await;
    let at = &controller.address[..];

    // Noticed here: a controller's token used for an agent.
    let error = join_as_agent(&[at], &controller.controller_token).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "this is a token for a controller, not for an agent; `wharf token show --role agent` prints the \
         right one"
    );
    // Noticed there: a controller token that claims to be an agent's.
    let disguised = JoinToken { role: Role::Agent, ..controller.controller_token.clone() };
    let error = join_as_agent(&[at], &disguised).await.unwrap_err();
    assert!(matches!(error, JoinError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("is for a controller, not for an agent"), "{error}");

    let error = join_as_agent(&[at], &controller.rotated_token).await.unwrap_err();
    assert!(error.to_string().contains("expired or was rotated at 2"), "{error}");

    let mut unknown = controller.token.clone();
    unknown.secret = wharf_identity::TokenSecret::generate().unwrap();
    let error = join_as_agent(&[at], &unknown).await.unwrap_err();
    assert!(error.to_string().contains("is not valid, or was rotated"), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_controller_of_another_cluster_is_not_trusted() {
    let (ours, theirs) = (Controller::start().await, Controller::start().await);
    let error = join_as_agent(&[&theirs.address], &ours.token).await.unwrap_err();
    assert!(matches!(error, JoinError::Dial(DialError::OtherCluster { .. })), "{error:?}");
    let wanted = format!("the controller at {} is not of the cluster that this token is for", theirs.address);
    assert!(error.to_string().starts_with(&wanted), "{error}");
    assert!(!error.is_retryable());
    // One wrong address among right ones does no harm.
    assert!(join_as_agent(&[&theirs.address, &ours.address], &ours.token).await.is_ok());
}

#[tokio::test]
async fn a_member_that_is_no_controller_can_t_pose_as_one() {
    let authority = Arc::new(Authority::create("c1", SystemTime::now()).unwrap());
    let agent = issue(&authority, Role::Agent, "n9", HOUR);
    let posing = Controller::start_as(authority, agent, HOUR).await;
    let error = join_as_agent(&[&posing.address], &posing.token).await.unwrap_err();
    assert!(error.to_string().ends_with("its certificate is for another role"), "{error}");

    let cell = CredentialsCell::new(posing.issue(Role::Agent, "n1"));
    let error = wharf_identity::connect(&posing.address, &cell).await.unwrap_err();
    assert!(error.to_string().ends_with("its certificate is for another role"), "{error}");
}

#[tokio::test]
async fn an_expired_controller_is_told_apart() {
    let authority = Arc::new(Authority::create("c1", SystemTime::now()).unwrap());
    let late = expired(&authority, Role::Controller, "k1");
    let controller = Controller::start_as(authority, late, HOUR).await;
    let error = join_as_agent(&[&controller.address], &controller.token).await.unwrap_err();
    assert!(error.to_string().contains("its certificate expired at 2"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_worth_another_try() {
    let controller = Controller::start().await;
    let (one, two) = (dead_address(), dead_address());
    let error = join_as_agent(&[&one], &controller.token).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().starts_with(&format!("cannot reach {one}: ")), "{error}");
    let error = join_as_agent(&[&one, &two], &controller.token).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().contains(&one) && error.to_string().contains(&two), "{error}");
    let error = join_as_agent(&["nonsense"], &controller.token).await.unwrap_err();
    assert!(error.to_string().contains("write host:port"), "{error}");
}

#[tokio::test]
async fn certificates_renew_themselves_in_use_and_on_disk() {
    let controller = Controller::start_with(Duration::from_secs(3)).await;
    let (joined, temporary) = join_as_agent(&[&controller.address], &controller.token).await.unwrap();
    let first = joined.credentials;
    let folder = IdentityFolder::new(temporary.path());
    let cell = CredentialsCell::new(first.clone());
    let dialer = Dialer::new(vec![dead_address(), controller.address.clone()], cell.clone());
    let renewal = spawn_renewal(cell.clone(), folder.clone(), dialer);

    let mut seen = cell.subscribe();
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(30), seen.changed()).await.unwrap().unwrap();
    }
    let now = cell.get();
    assert_eq!(now.identity(), first.identity());
    assert!(now.not_after() > first.not_after());
    assert_ne!(now.key_pem(), first.key_pem());
    eventually("the renewed certificate on disk", async || {
        let saved = folder.load().unwrap().unwrap();
        (saved.not_after() >= now.not_after()).then_some(())
    })
    .await;
    renewal.abort();
}
