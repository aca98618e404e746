//! `wharf restore`.

use super::{
    backup::{self, Progress, bytes},
    confirm,
};
use crate::{
    cli::Restore,
    client::{Api, Client, all},
    contexts::{Contexts, describe},
    failure::{Failure, Result},
    output::{say, time},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use wharf_identity::{Credentials, CredentialsCell, Dialer, KeyAndRequest};
use wharf_proto::v1::{
    Kind, RestoreBegin, RestoreRequest, RestoreResponse, control_api_client::ControlApiClient,
    restore_request::Part,
};

/// Bytes in one message.
const CHUNK: usize = 256 << 10;
/// Messages that wait for the controller.
const QUEUE: usize = 4;
/// How long the file may take to get there, if nothing else is said: the largest ones are gigabytes.
const UPLOAD: Duration = Duration::from_secs(3600);
/// How long the restored cluster may take to answer.
const START: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Puts a backup in the place of a new, empty cluster, and its context in the place of that cluster's.
///
/// # Errors
/// When the backup can't be used, the cluster refuses it, or the restored one doesn't answer.
pub async fn restore(client: &Client, args: Restore, timeout: Option<Duration>) -> Result<()> {
    let backup = backup::open(&args.file)?;
    let (header, size) = (backup.header, backup.size);
    // Whatever keeps the cluster from being reached is found out, and waited for, before the file is sent.
    client.get(&all(Kind::Controller)).await?;
    let what = format!(
        "cluster {} as it was at {}: {} nodes, {} stacks, {} services, {} tasks",
        header.cluster,
        time::absolute(header.taken_at),
        header.nodes,
        header.stacks,
        header.services,
        header.tasks
    );
    confirm(&format!("Replace the new cluster of context {} by {what}?", client.context), args.yes).await?;

    let key = KeyAndRequest::generate().map_err(|error| Failure::failed(describe(&error)))?;
    let begin = RestoreBegin { csr_pem: key.csr_pem.clone(), size };
    let send = |api| upload(api, begin.clone(), args.file.clone(), size);
    let joined = client.write_once(timeout.unwrap_or(UPLOAD), send).await?;
    let credentials =
        Credentials::from_pem(&joined.ca_pem, &joined.cert_pem, &key.key_pem).map_err(|error| {
            Failure::failed(format!("the restored cluster's certificate: {}", describe(&error)))
        })?;
    keep(client, &credentials)?;
    await_answer(client, credentials, timeout.unwrap_or(START)).await?;
    say(&format!("restored {what} ({})", bytes(size)))?;
    say(&format!(
        "context {} is of that cluster now; next: wharf get nodes, and docs/disaster.md",
        client.context
    ))
}

/// The context was of a cluster that is no more.
fn keep(client: &Client, credentials: &Credentials) -> Result<()> {
    let contexts = Contexts::find()?;
    let mut context = contexts.load(&client.context)?;
    credentials.ca_pem().clone_into(&mut context.ca_pem);
    credentials.cert_pem().clone_into(&mut context.cert_pem);
    credentials.key_pem().clone_into(&mut context.key_pem);
    contexts.save(&context).map_err(|failure| Failure {
        message: format!(
            "the cluster was restored, but its context can't be kept here ({}): add the file admin.json in the \
             controller's data directory with `wharf context add`",
            failure.message
        ),
        ..failure
    })
}

async fn upload(
    mut api: Api,
    begin: RestoreBegin,
    path: PathBuf,
    size: u64,
) -> std::result::Result<Response<RestoreResponse>, Status> {
    let (sender, stream) = mpsc::channel(QUEUE);
    let progress = Arc::new(Progress::new("restore", Some(size)));
    let reader = tokio::task::spawn_blocking(move || read(&path, begin, &sender, &progress));
    let answer = api.restore(Request::new(ReceiverStream::new(stream))).await;
    match reader.await {
        Ok(Err(error)) => Err(Status::failed_precondition(format!("cannot read the backup: {error}"))),
        _ => answer,
    }
}

fn read(
    path: &Path,
    begin: RestoreBegin,
    sender: &mpsc::Sender<RestoreRequest>,
    progress: &Progress,
) -> std::io::Result<()> {
    let message = |part| RestoreRequest { part: Some(part) };
    let mut file = File::open(path)?;
    let mut next = message(Part::Begin(begin));
    // A controller that listens no more has said why.
    while sender.blocking_send(next).is_ok() {
        let mut data = Vec::new();
        (&mut file).take(CHUNK as u64).read_to_end(&mut data)?;
        if data.is_empty() {
            break;
        }
        progress.add(data.len());
        next = message(Part::Data(data.into()));
    }
    Ok(())
}

/// Waits until the restored cluster answers.
async fn await_answer(client: &Client, credentials: Credentials, patience: Duration) -> Result<()> {
    let dialer = Dialer::new(client.addresses(), CredentialsCell::new(credentials));
    let answered = async {
        loop {
            if let Ok(connected) = dialer.connect().await
                && ControlApiClient::new(connected.channel).get(all(Kind::Controller)).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(patience, answered).await.map_err(|_| {
        Failure::unreachable(format!(
            "the backup was taken, but the restored cluster has not answered within {patience:?}: see the controller's log"
        ))
    })
}
