//! Requests to a shim over its socket.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::fcntl::OFlag;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::layout::{Reply, Request, SOCKET};

/// Longest answer.
const MAX_REPLY: u64 = 64 * 1024;

/// Sends a request to the shim of the container in `dir` and waits for the answer; `None` if the shim is gone,
/// or goes before it has answered.
pub(crate) async fn ask(dir: &Path, request: &Request) -> io::Result<Option<Reply>> {
    let Some(mut stream) = connect(dir).await? else { return Ok(None) };
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    if stream.write_all(&line).await.is_err() {
        return Ok(None);
    }
    let mut answer = String::new();
    match BufReader::new(stream.take(MAX_REPLY)).read_line(&mut answer).await {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(serde_json::from_str(&answer)?)),
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

async fn connect(dir: &Path) -> io::Result<Option<UnixStream>> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let dir = match File::options().read(true).custom_flags(flags.bits()).open(dir) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // The socket's own path may be longer than the 107 bytes that an address holds.
    let short = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    match UnixStream::connect(&short).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
