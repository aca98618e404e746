//! The terminal of a container: the runtime makes it and hands its other end over a socket.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::layout::CONSOLE_SOCKET;

/// Listens in the current directory, before the runtime is started.
pub(crate) fn listen() -> io::Result<UnixListener> {
    UnixListener::bind(CONSOLE_SOCKET)
}

/// Takes the terminal, once the runtime has created the container.
pub(crate) fn receive(listener: &UnixListener) -> io::Result<OwnedFd> {
    // It has been sent by now, so nothing is waited for.
    listener.set_nonblocking(true)?;
    let (socket, _) = listener.accept()?;
    std::fs::remove_file(CONSOLE_SOCKET)?;
    let mut name = [0; 4096];
    let mut space = cmsg_space!([std::os::fd::RawFd; 1]);
    let mut buffers = [IoSliceMut::new(&mut name)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part
            && let Some(fd) = fds.first()
        {
            // SAFETY: the kernel has just made this descriptor for us, and nothing else knows it.
            return Ok(unsafe { OwnedFd::from_raw_fd(*fd) });
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the runtime handed over no terminal"))
}
