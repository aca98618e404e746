//! The whole state as a file: taken while the cluster runs, and put into a new one.

use super::Answers;
use crate::{
    authority::sign,
    bootstrap::ADMIN_LIFETIME,
    clock,
    core::Core,
    gate::Caller,
    replica::View,
    restore::{Staged, Staging},
    settings::Timings,
    succession::must_be_new,
    transport::OWN_VERSION,
};
use bytes::Bytes;
use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
    thread::Builder,
    time::Duration,
};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};
use wharf_cluster::state::State;
use wharf_identity::{Authority, Identity, Role};
use wharf_proto::{
    backup::{BackupWriter, Header},
    codec::encode_snapshot,
    v1::{BackupChunk, RestoreRequest, RestoreResponse, restore_request::Part},
};

/// Bytes of a backup in one message.
const CHUNK: usize = 256 << 10;
/// Messages that wait for a client.
const QUEUE: usize = 4;
/// How long a client may take for its next piece of a backup.
const NEXT_PIECE: Duration = Duration::from_secs(30);

pub(super) async fn backup(core: &Core) -> Result<Answers<BackupChunk>, Status> {
    let View { index, state } = core.read().await?;
    let term = core.raft.status().borrow().term;
    let header = header(&state, index, term)?;
    let (sender, stream) = mpsc::channel(QUEUE);
    // A thread of its own: one that waits for a slow client is missed nowhere else.
    let thread = Builder::new().name("backup".to_owned()).spawn(move || {
        let pieces = Pieces { sender: sender.clone(), piece: Vec::with_capacity(CHUNK) };
        let written = BackupWriter::begin(pieces, &header).and_then(|mut writer| {
            encode_snapshot(&state, &mut writer)?;
            writer.finish()
        });
        match written {
            Ok(_) => tracing::info!(index, "gave a backup to a client"),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                tracing::info!(index, "a client has given up its backup");
            }
            Err(error) => {
                tracing::error!(%error, "cannot write a backup");
                // A client that has gone needs no reason.
                let _ =
                    sender.blocking_send(Err(Status::internal(format!("cannot write a backup: {error}"))));
            }
        }
    });
    thread.map_err(|error| Status::resource_exhausted(format!("cannot start a thread: {error}")))?;
    Ok(Box::pin(ReceiverStream::new(stream)))
}

fn header(state: &State, index: u64, term: u64) -> Result<Header, Status> {
    let info =
        state.cluster().ok_or_else(|| Status::unavailable("the cluster is only being made; try again"))?;
    Ok(Header {
        cluster: info.id.clone(),
        taken_at: clock::now().0,
        index,
        term,
        version: OWN_VERSION.to_owned(),
        controllers: state.controllers().count() as u64,
        nodes: state.nodes().count() as u64,
        stacks: state.stacks().count() as u64,
        services: state.services().count() as u64,
        tasks: state.tasks().count() as u64,
    })
}

/// Sends what is written to it in messages. Waits for a client that is slow.
struct Pieces {
    sender: mpsc::Sender<Result<BackupChunk, Status>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(CHUNK));
        let sent = self.sender.blocking_send(Ok(BackupChunk { data: Bytes::from(piece) }));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

pub(super) async fn restore(
    core: &Arc<Core>,
    request: Request<Streaming<RestoreRequest>>,
) -> Result<RestoreResponse, Status> {
    let caller = Caller::expect(&request)?;
    let remote = caller.remote();
    let asker =
        caller.identity().cloned().ok_or_else(|| Status::unauthenticated("a restore needs an admin"))?;
    let _one = core.succession.enter()?;
    must_be_new(&core.read().await?.state)?;

    let mut stream = request.into_inner();
    let Some(Part::Begin(begin)) = next(&mut stream).await? else {
        return Err(Status::invalid_argument(
            "a restore begins with a certificate request and the file's size",
        ));
    };
    let (staging, staged) = receive(core, stream, begin.size).await?;
    let response = welcome(&staged.state, &core.timings, &begin.csr_pem, &asker.id)?;
    tracing::warn!(%remote, %asker, cluster = response.cluster_id, "this cluster gives way to one from a backup");
    let heir = core.clone();
    let given = tokio::spawn(async move {
        // On its own, so that a client that goes away now doesn't leave it half done.
        heir.succession.give_way(&heir.raft, &heir.published, staging).await
    });
    given.await.map_err(|error| Status::internal(format!("the restore failed: {error}")))??;
    Ok(response)
}

async fn next(stream: &mut Streaming<RestoreRequest>) -> Result<Option<Part>, Status> {
    let message = timeout(NEXT_PIECE, stream.message()).await;
    let message =
        message.map_err(|_| Status::deadline_exceeded("the backup's next piece did not come"))??;
    Ok(message.and_then(|message| message.part))
}

/// Takes the whole file, and checks it.
async fn receive(
    core: &Core,
    mut stream: Streaming<RestoreRequest>,
    size: u64,
) -> Result<(Staging, Staged), Status> {
    let failed = |error| Status::internal(format!("the restore failed: {error}"));
    let data_dir = core.succession.data_dir.clone();
    let mut staging = spawn_blocking(move || Staging::begin(&data_dir, size)).await.map_err(failed)??;
    while let Some(part) = next(&mut stream).await? {
        let Part::Data(data) = part else {
            return Err(Status::invalid_argument("a restore begins once"));
        };
        let written = spawn_blocking(move || staging.write(&data).map(|()| staging));
        staging = written.await.map_err(failed)??;
    }
    let checked =
        spawn_blocking(move || staging.check(Path::new("the backup")).map(|staged| (staging, staged)));
    Ok(checked.await.map_err(failed)??)
}

/// The asker's certificate in the restored cluster.
fn welcome(state: &State, timings: &Timings, csr: &str, asker: &str) -> Result<RestoreResponse, Status> {
    let authority: Authority = crate::authority::authority(state)?;
    let identity = Identity::new(authority.cluster(), Role::Admin, asker)
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let timings = Timings { certificate_lifetime: ADMIN_LIFETIME, ..*timings };
    Ok(RestoreResponse {
        cert_pem: sign(&authority, &timings, csr, &identity, &[])?,
        ca_pem: authority.certificate_pem().to_owned(),
        cluster_id: authority.cluster().to_owned(),
    })
}
