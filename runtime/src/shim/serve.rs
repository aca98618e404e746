//! The shim's socket: a few clients, each sending lines of JSON and getting a line for each.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::layout::{Reply, Request};

/// Most clients at a time; the agent needs two or three. Others have to try again.
const MAX_CLIENTS: usize = 64;
/// Longest request.
const MAX_REQUEST: usize = 1024;

/// All who are connected.
pub(crate) struct Clients {
    listener: UnixListener,
    clients: Vec<Client>,
}

struct Client {
    stream: UnixStream,
    pending: Vec<u8>,
    waits: bool,
}

impl Clients {
    pub(crate) fn new(listener: UnixListener) -> Self {
        Self { listener, clients: Vec::new() }
    }

    /// What to watch for input: the listener first, then each client.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.clients.iter().map(|c| c.stream.as_fd()))
    }

    /// Takes whoever wants to connect.
    pub(crate) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() < MAX_CLIENTS && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, pending: Vec::new(), waits: false });
            }
        }
    }

    /// Reads what has come and answers with `answer`; a request without an answer yet waits for [`Self::announce`].
    pub(crate) fn serve(&mut self, mut answer: impl FnMut(Request) -> Option<Reply>) {
        self.clients.retain_mut(|client| client.serve(&mut answer).is_ok());
    }

    /// Answers all who wait.
    pub(crate) fn announce(&mut self, reply: &Reply) {
        for client in self.clients.iter_mut().filter(|c| c.waits) {
            // One that is gone has no use for it.
            let _ = client.send(reply);
            client.waits = false;
        }
    }
}

impl Client {
    fn serve(&mut self, answer: &mut impl FnMut(Request) -> Option<Reply>) -> io::Result<()> {
        let mut buffer = [0; 512];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.pending.len() > MAX_REQUEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        while let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(request) => match answer(request) {
                    Some(reply) => self.send(&reply)?,
                    None => self.waits = true,
                },
                Err(error) => self.send(&Reply::Error { error: format!("bad request: {error}") })?,
            }
        }
        Ok(())
    }

    /// Replies are short and the buffer of a socket is long: one that does not fit means a client that does not read.
    fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }
}
