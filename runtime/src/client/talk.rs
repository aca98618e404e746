//! Requests to a shim over its socket.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::layout::{Reply, Request, SOCKET};

/// Longest answer.
const MAX_REPLY: u64 = 64 * 1024;
/// How long a shim that does not answer is asked again: one that ends closes its socket last.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);

/// Sends a request to the shim of the container in `dir` and waits for the answer; `None` if the shim is gone.
/// Only a refused connection tells that: one that is closed without an answer is tried again.
pub(crate) async fn ask(dir: &Path, request: &Request) -> io::Result<Option<Reply>> {
    let deadline = Instant::now() + PATIENCE;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    while let Some(stream) = connect(dir).await? {
        if let Some(answer) = exchange(stream, &line).await? {
            return Ok(Some(serde_json::from_str(&answer)?));
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it closes every connection"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(None)
}

async fn exchange(mut stream: UnixStream, line: &[u8]) -> io::Result<Option<String>> {
    if stream.write_all(line).await.is_err() {
        return Ok(None);
    }
    let mut answer = String::new();
    match BufReader::new(stream.take(MAX_REPLY)).read_line(&mut answer).await {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(answer)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns when no shim serves the container in `dir`.
pub(crate) async fn until_closed(dir: &Path) {
    while let Ok(Some(mut stream)) = connect(dir).await {
        let mut buffer = [0; 64];
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    }
}

/// Makes the socket of the container in `dir`.
pub(crate) fn listen(dir: &Path) -> io::Result<UnixListener> {
    let dir = open(dir)?;
    UnixListener::bind(short_path(&dir))
}

async fn connect(dir: &Path) -> io::Result<Option<UnixStream>> {
    let dir = match open(dir) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match UnixStream::connect(short_path(&dir)).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn open(dir: &Path) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    File::options().read(true).custom_flags(flags.bits()).open(dir)
}

/// The socket's own path may be longer than the 107 bytes that an address holds.
fn short_path(dir: &File) -> String {
    format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd())
}
