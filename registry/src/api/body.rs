//! Reading request bodies within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::header::EXPECT;
use http::request::Parts;
use http_body_util::BodyExt;

use crate::storage::{ByteStream, StorageError};

/// How long a client may send nothing in the middle of a body.
const STALL: Duration = Duration::from_secs(60);
/// How much of a refused body is still read, and for how long.
const DRAIN_BYTES: usize = 8 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The pieces of a body.
pub(super) fn stream(body: &mut Body) -> ByteStream<'_> {
    futures::stream::unfold(body, |body| async {
        loop {
            let frame = match tokio::time::timeout(STALL, body.frame()).await {
                Ok(None) => return None,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Some((Err(StorageError::Body(error.into())), body)),
                Err(_) => {
                    let error = format!("nothing came for {} s", STALL.as_secs());
                    return Some((Err(StorageError::Body(error.into())), body));
                }
            };
            // Trailers are of no use here.
            if let Ok(data) = frame.into_data() {
                return Some((Ok(data), body));
            }
        }
    })
    .boxed()
}

/// A whole body, or `None` when it has more than `limit` bytes.
pub(super) async fn read(body: &mut Body, limit: usize) -> Result<Option<Bytes>, StorageError> {
    let mut pieces = stream(body);
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > limit {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.freeze()))
}

/// Reads on after an error: a client that is still sending when the connection closes sees a broken
/// pipe and not the answer. Not when the client waits for a word before it sends anything.
pub(super) async fn drain(parts: &Parts, body: &mut Body) {
    if parts.headers.contains_key(EXPECT) {
        return;
    }
    let all = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, all).await;
}
