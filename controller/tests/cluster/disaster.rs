//! Most controllers lost for good, or all of them: one goes on alone, or a new one begins from a backup.

use crate::{
    agent::Agent,
    harness::{
        Client, Cluster, TIMINGS, apply, controllers, eventually, free_port, nodes, request_id, running,
        shop, tasks,
    },
};
use std::{collections::BTreeSet, fs, path::Path};
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use wharf_controller::{
    Controller, ControllerError, Ended,
    recover::{self, RecoverError},
    restore::RestoreError,
    settings::{Settings, Start},
};
use wharf_identity::{ClientContext, Credentials, CredentialsCell, KeyAndRequest, connect};
use wharf_proto::{
    backup::Backup,
    v1::{
        BackupRequest, GetRequest, RemoveStackRequest, RestoreBegin, RestoreRequest, RestoreResponse,
        control_api_client::ControlApiClient, restore_request::Part,
    },
};

async fn backup(client: &mut Client) -> Vec<u8> {
    let mut stream = client.backup(BackupRequest {}).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap().data);
    }
    bytes
}

async fn restore(client: &mut Client, csr: &str, bytes: &[u8]) -> Result<RestoreResponse, Status> {
    let begin = RestoreBegin { csr_pem: csr.to_owned(), size: bytes.len() as u64 };
    let data = bytes.chunks(1000).map(|piece| Part::Data(piece.to_vec().into()));
    let parts: Vec<_> = std::iter::once(Part::Begin(begin)).chain(data).collect();
    let requests = parts.into_iter().map(|part| RestoreRequest { part: Some(part) });
    client.restore(tokio_stream::iter(requests)).await.map(tonic::Response::into_inner)
}

fn ids(tasks: &[wharf_proto::v1::Task]) -> BTreeSet<String> {
    tasks.iter().map(|task| task.id.clone()).collect()
}

async fn said_by_recovery(data_dir: &Path) -> (Result<(), RecoverError>, String) {
    let mut out = Vec::new();
    let result = recover::run(data_dir, true, &mut out).await;
    (result, String::from_utf8(out).unwrap())
}

/// Runs a controller until it ends by itself.
async fn end_of(settings: Settings) -> ControllerError {
    let controller = Controller::start(settings).await.unwrap();
    let ended = tokio::time::timeout(crate::harness::PATIENCE, controller.run_until(std::future::pending()));
    ended.await.expect("it must end").unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_controller_of_three_goes_on_alone() {
    let mut cluster = Cluster::start(3).await;
    let agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.any_client().await;
    apply(&mut client, shop(2)).await.unwrap();
    let before = ids(&running(&client, 2).await);
    let survivor = cluster.follower().await;
    let data_dir = cluster.settings[survivor].data_dir.clone();

    let (in_use, _) = said_by_recovery(&data_dir).await;
    assert!(matches!(in_use, Err(RecoverError::Log(_))), "{in_use:?}");
    cluster.kill(survivor).await;
    let (alive, said) = said_by_recovery(&data_dir).await;
    assert!(matches!(alive, Err(RecoverError::Alive(_))), "{alive:?}");
    assert_eq!(said, "");

    let lost: Vec<usize> = (0..3).filter(|member| *member != survivor).collect();
    for member in &lost {
        cluster.kill(*member).await;
    }
    let (done, said) = said_by_recovery(&data_dir).await;
    done.unwrap();
    for member in &lost {
        assert!(said.contains(&cluster.address(*member)), "{said}");
    }
    let (again, said) = said_by_recovery(&data_dir).await;
    again.unwrap();
    assert!(said.contains("already"), "{said}");

    cluster.restart(survivor).await;
    agent.wait("a session with the one that is left", |seen| seen.controllers.len() == 1).await;
    let mut client = cluster.client(survivor).await;
    assert_eq!(ids(&running(&client, 2).await), before);
    apply(&mut client, shop(3)).await.unwrap();
    running(&client, 3).await;

    // Those that come back are refused, and notice it, though together they would be a majority.
    let ends: Vec<_> =
        lost.iter().map(|member| tokio::spawn(end_of(cluster.settings[*member].clone()))).collect();
    for end in ends {
        let end = end.await.unwrap();
        assert!(matches!(end, ControllerError::Removed), "{end}");
    }
    assert_eq!(controllers(&mut client).await.unwrap().len(), 1);

    for _ in 0..2 {
        let token = cluster.token("controller").await.parse().unwrap();
        let addresses = vec![cluster.address(survivor)];
        cluster.add(Start::Join { addresses, token }, TIMINGS).await.unwrap();
    }
    cluster.wait_for_voters(3).await;
    assert_eq!(tasks(&mut cluster.client(4).await, GetRequest::default()).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_makes_a_cluster_that_agents_come_back_to() {
    let mut cluster = Cluster::start(3).await;
    let agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.client(cluster.follower().await).await;
    apply(&mut client, shop(2)).await.unwrap();
    let known = ids(&running(&client, 2).await);
    let file = cluster.folder().join("backup");
    let bytes = backup(&mut client).await;
    fs::write(&file, &bytes).unwrap();
    let header = Backup::open(fs::File::open(&file).unwrap()).unwrap().header;
    assert_eq!((header.controllers, header.nodes, header.stacks, header.tasks), (3, 1, 1, 2));

    // What comes after the backup is lost with it.
    apply(&mut client, shop(4)).await.unwrap();
    let lost: BTreeSet<String> = ids(&running(&client, 4).await).difference(&known).cloned().collect();
    for member in 0..3 {
        cluster.kill(member).await;
    }
    let restart = |file: &Path| Start::Restore { file: file.to_owned(), contexts: Vec::new() };
    let address = cluster.address(0);
    let restored = cluster.add_at(&address, restart(&file), TIMINGS).await.unwrap();
    agent
        .wait("the restored assignment", |seen| seen.held.keys().cloned().collect::<BTreeSet<_>>() == known)
        .await;
    let mut client = cluster.client(restored).await;
    assert_eq!(ids(&running(&client, 2).await), known);
    assert_eq!(nodes(&mut client).await.unwrap().len(), 1);

    // No id is used twice, for tasks or for controllers.
    apply(&mut client, shop(4)).await.unwrap();
    let now = ids(&running(&client, 4).await);
    assert!(now.is_superset(&known) && now.is_disjoint(&lost), "{known:?} {lost:?} {now:?}");
    let [only] = &controllers(&mut client).await.unwrap()[..] else { panic!("more controllers than one") };
    assert!(!["1", "2", "3"].contains(&only.id.as_str()));

    let end = end_of(cluster.settings[1].clone()).await;
    assert!(matches!(end, ControllerError::Removed), "{end}");

    // With the same arguments it is only started; another backup is not passed over in silence.
    cluster.kill(restored).await;
    cluster.restart(restored).await;
    assert_eq!(ids(&running(&cluster.client(restored).await, 4).await), now);
    cluster.kill(restored).await;
    let (mut other, settings) = (bytes, cluster.settings[restored].clone());
    *other.last_mut().unwrap() ^= 1;
    fs::write(&file, other).unwrap();
    let refused = Controller::start(settings).await.err().expect("another backup");
    assert!(matches!(refused, ControllerError::Restore(RestoreError::Taken(_))), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_backup_can_be_restored_again() {
    let mut cluster = Cluster::start(1).await;
    let agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.any_client().await;
    apply(&mut client, shop(1)).await.unwrap();
    running(&client, 1).await;
    let file = cluster.folder().join("backup");
    fs::write(&file, backup(&mut client).await).unwrap();
    let address = cluster.address(0);
    let mut last = 0;
    let mut used = BTreeSet::new();
    for _ in 0..2 {
        cluster.kill(last).await;
        let contexts = Vec::new();
        let start = Start::Restore { file: file.clone(), contexts };
        last = cluster.add_at(&address, start, TIMINGS).await.unwrap();
        let mut client = cluster.client(last).await;
        apply(&mut client, shop(3)).await.unwrap();
        let now = ids(&running(&client, 3).await);
        assert_eq!(used.intersection(&now).count(), usize::from(!used.is_empty()), "{used:?} {now:?}");
        used = now;
    }
    assert!(agent.seen.lock().sessions >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_gives_way_to_a_backup() {
    let mut old = Cluster::start(1).await;
    let agent = Agent::start(&old, "one").await;
    let mut client = old.any_client().await;
    apply(&mut client, shop(2)).await.unwrap();
    let known = ids(&running(&client, 2).await);
    let bytes = backup(&mut client).await;
    let address = old.address(0);
    let key = KeyAndRequest::generate().unwrap();
    let refused = restore(&mut client, &key.csr_pem, &bytes).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("1 nodes, 1 stacks, 1 services"), "{refused}");
    old.kill(0).await;

    let mut cluster = Cluster::start(1).await;
    cluster.kill(0).await;
    let settings = Settings {
        listen: address.parse().unwrap(),
        advertise: address.clone(),
        ..cluster.settings[0].clone()
    };
    let controller = Controller::start(settings.clone()).await.unwrap();
    let ended = tokio::spawn(controller.run_until(std::future::pending()));
    let connected = async |context: &ClientContext| {
        let cell = CredentialsCell::new(context.credentials().unwrap());
        ControlApiClient::new(connect(&address, &cell).await.unwrap())
    };
    let mut client = connected(&cluster.context()).await;
    for damaged in [&bytes[..bytes.len() - 1], &bytes[..100], b"nonsense", b""] {
        let refused = restore(&mut client, &key.csr_pem, damaged).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    let left: Vec<_> =
        fs::read_dir(&settings.data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restoring")), "{left:?}");
    // It takes writes as before.
    let none = RemoveStackRequest { request_id: request_id(), stack: "none".to_owned() };
    assert_eq!(client.remove_stack(none).await.unwrap_err().code(), Code::NotFound);

    let joined = restore(&mut client, &key.csr_pem, &bytes).await.unwrap();
    assert_eq!(ended.await.unwrap().unwrap(), Ended::Succeeded);
    let controller = Controller::start(settings.clone()).await.unwrap();
    agent.wait("a session with the restored cluster", |seen| seen.sessions >= 2).await;
    let credentials = Credentials::from_pem(&joined.ca_pem, &joined.cert_pem, &key.key_pem).unwrap();
    let mut client = connected(&ClientContext::new("new", vec![address.clone()], &credentials)).await;
    assert_eq!(ids(&running(&client, 2).await), known);
    // The context that the controller wrote is of the restored cluster too.
    let mut written = connected(&cluster.context()).await;
    assert_eq!(nodes(&mut written).await.unwrap().len(), 1);
    apply(&mut client, shop(3)).await.unwrap();
    running(&client, 3).await;
    controller.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(FIXTURES[0]).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 4;
    let file = folder.path().join("backup");
    for damaged in [&bytes[..bytes.len() / 2], &flipped, b"text", b""] {
        fs::write(&file, damaged).unwrap();
        let settings = restoring(folder.path(), &file);
        let refused = Controller::start(settings.clone()).await.err().expect("a damaged backup");
        assert!(refused.to_string().contains(file.to_str().unwrap()), "{refused}");
        assert!(
            !settings.data_dir.join("identity").exists() && !settings.data_dir.join("restoring").exists()
        );
    }
    // Once there is a whole one, it is restored as if nothing had been.
    fs::write(&file, &bytes).unwrap();
    Controller::start(restoring(folder.path(), &file)).await.unwrap().stop().await.unwrap();
}

/// Backups of the first format: the first with the state in its first encoding, the second in its second.
const FIXTURES: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/backup-1-state-1"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/backup-1-state-2"),
];

fn restoring(folder: &Path, file: &Path) -> Settings {
    let address = format!("127.0.0.1:{}", free_port());
    Settings {
        name: "new".to_owned(),
        listen: address.parse().unwrap(),
        advertise: address,
        data_dir: folder.join("data"),
        start: Start::Restore { file: file.to_owned(), contexts: vec![folder.join("admin.json")] },
        timings: TIMINGS,
        max_level: wharf_cluster::level::Level::NEWEST,
    }
}

/// Every version reads the backups of those before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_of_earlier_versions_are_restored() {
    for fixture in FIXTURES {
        restored_from_an_earlier_version(Path::new(fixture)).await;
    }
}

async fn restored_from_an_earlier_version(fixture: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let settings = restoring(folder.path(), fixture);
    let controller = Controller::start(settings.clone()).await.unwrap();
    let context = ClientContext::load(&folder.path().join("admin.json")).unwrap();
    let cell = CredentialsCell::new(context.credentials().unwrap());
    let mut client = ControlApiClient::new(connect(&settings.advertise, &cell).await.unwrap());
    assert_eq!(nodes(&mut client).await.unwrap()[0].name, "one");
    let restored =
        eventually("tasks", || async { tasks(&mut client.clone(), GetRequest::default()).await.ok() }).await;
    let images: BTreeSet<&str> = restored.iter().map(|task| task.image.as_str()).collect();
    assert_eq!(images, ["registry/web:1"].into());
    apply(&mut client, shop(3)).await.unwrap();
    controller.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes the fixture of this version's format"]
async fn write_the_fixture() {
    let cluster = Cluster::start(1).await;
    let _agent = Agent::start(&cluster, "one").await;
    let mut client = cluster.any_client().await;
    apply(&mut client, shop(2)).await.unwrap();
    running(&client, 2).await;
    fs::write(FIXTURES[FIXTURES.len() - 1], backup(&mut client).await).unwrap();
}
