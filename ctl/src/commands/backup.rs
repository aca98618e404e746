//! `wharf backup`.

use crate::{
    cli::{Backup as Args, InspectFormat},
    client::Client,
    failure::{Failure, Result},
    output::{say, time},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{IsTerminal, Read, Write, stderr, stdout},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};
use tempfile::NamedTempFile;
use tonic::Streaming;
use wharf_proto::{
    backup::{Backup, Header},
    v1::{BackupChunk, BackupRequest},
};

/// How every backup begins.
const MAGIC: &[u8] = b"WHARFBAK";
/// A person who waits longer sees how far it is.
const SILENCE: Duration = Duration::from_secs(1);

/// Takes a backup, or tells what one is.
///
/// # Errors
/// When no whole backup comes, or the file can't be written.
pub async fn backup<'a>(open: impl Fn() -> Result<&'a Client>, args: Args) -> Result<()> {
    if args.inspect {
        return inspect(&args.file, args.output);
    }
    if args.file == Path::new("-") {
        if stdout().is_terminal() {
            return Err(Failure::usage("a backup is not for a terminal: name a file, or pipe it somewhere"));
        }
        receive(open()?, &mut stdout().lock()).await?;
        return Ok(stdout().flush()?);
    }
    may_replace(&args.file, args.force)?;
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Readable by its owner only, and removed if anything goes wrong.
    let mut file = NamedTempFile::with_prefix_in(".wharf-backup", folder)
        .map_err(|error| Failure::failed(format!("cannot write into {}: {error}", folder.display())))?;
    receive(open()?, &mut file).await?;
    let backup = Backup::open(file.as_file())
        .map_err(|error| Failure::failed(format!("what came is no backup that can be used: {error}")))?;
    let (header, size) = (backup.header, backup.size);
    file.as_file().sync_all()?;
    file.persist(&args.file)
        .map_err(|error| Failure::failed(format!("cannot write {}: {}", args.file.display(), error.error)))?;
    File::open(folder)?.sync_all()?;
    say(&format!(
        "{}: cluster {} at index {}, {}; it holds the key of the cluster's authority: keep it as you keep that",
        args.file.display(),
        header.cluster,
        header.index,
        bytes(size)
    ))
}

/// Not everything that lies where a backup is to go is an older backup.
fn may_replace(path: &Path, force: bool) -> Result<()> {
    let mut start = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut start)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::failed(format!("cannot replace {}: {error}", path.display()))),
    };
    if force || start == MAGIC || start.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is there, and is no backup: choose another name, or --force",
        path.display()
    )))
}

async fn receive(client: &Client, out: &mut impl Write) -> Result<()> {
    let mut stream: Streaming<BackupChunk> =
        client.call(|mut api| async move { api.backup(BackupRequest {}).await }).await?;
    let progress = Progress::new("backup", None);
    while let Some(chunk) = stream.message().await? {
        out.write_all(&chunk.data)?;
        progress.add(chunk.data.len());
    }
    Ok(())
}

/// What is shown of a backup.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    header: Header,
    size: u64,
    checksum: String,
}

fn inspect(path: &Path, format: InspectFormat) -> Result<()> {
    let Backup { header, size, checksum, .. } = open(path)?;
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        eprintln!(
            "warning: others than its owner can read {}, and the authority's key in it",
            path.display()
        );
    }
    let checksum = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    if format == InspectFormat::Json {
        let shown = Shown { header, size, checksum };
        let text =
            serde_json::to_string_pretty(&shown).map_err(|error| Failure::failed(error.to_string()))?;
        return say(&text);
    }
    for (name, value) in [
        ("cluster", header.cluster),
        ("taken", format!("{} ({} ago)", time::absolute(header.taken_at), time::age(header.taken_at))),
        ("index", format!("{} (term {})", header.index, header.term)),
        ("written by", format!("wharf-controller {}", header.version)),
        ("controllers", header.controllers.to_string()),
        ("nodes", header.nodes.to_string()),
        ("stacks", header.stacks.to_string()),
        ("services", header.services.to_string()),
        ("tasks", header.tasks.to_string()),
        ("size", bytes(size)),
        ("checksum", format!("{checksum} (sha256, fits)")),
    ] {
        say(&format!("{name:<12} {value}"))?;
    }
    Ok(())
}

/// A backup file, checked.
pub(super) fn open(path: &Path) -> Result<Backup<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::not_found(format!("there is no file {}", path.display())));
        }
        Err(error) => return Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
    };
    Backup::open(file).map_err(|error| Failure::failed(format!("{} can't be used: {error}", path.display())))
}

/// A number of bytes, short.
pub(super) fn bytes(size: u64) -> String {
    indicatif::BinaryBytes(size).to_string()
}

/// Shows how far a transfer is, to people, once it takes long.
pub(super) struct Progress {
    bar: ProgressBar,
    begun: std::time::Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str, size: Option<u64>) -> Self {
        let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = if size.is_some() { "{msg} {bytes}/{total_bytes}" } else { "{msg} {bytes}" };
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Progress { bar, begun: std::time::Instant::now() }
    }

    pub(super) fn add(&self, bytes: usize) {
        if self.bar.is_hidden() && stderr().is_terminal() && self.begun.elapsed() >= SILENCE {
            self.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        }
        self.bar.inc(bytes as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
