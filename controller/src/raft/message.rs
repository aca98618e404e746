//! Raft's own messages as bytes, checked when they come from the network.
//!
//! raft-rs treats a malformed message as a bug of its own and panics, so whatever a peer sends is
//! checked here for everything that raft-rs takes for granted about a message's form.

use ::raft::eraftpb::{Entry, EntryType, Message, MessageType};
use protobuf_for_raft::Message as _;

/// The largest message that is taken from a peer.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Why bytes are not a message that a peer may send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("raft message of {0} bytes is over the limit of {MAX_MESSAGE_BYTES} bytes")]
    TooLarge(usize),
    /// Not the encoding of a message.
    #[error("not a raft message: {0}")]
    Malformed(String),
    /// Of a kind that is not sent between controllers.
    #[error("raft message of a kind that peers don't send ({0})")]
    Unexpected(i32),
    /// Its parts contradict one another.
    #[error("inconsistent raft message: {0}")]
    Inconsistent(&'static str),
}

/// Encodes a message for the wire.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// Decodes and checks a message from a peer. Snapshots don't come this way but in chunks.
///
/// # Errors
/// When it is too large, malformed, of a kind that peers don't send, or inconsistent.
pub fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
    let message = decode_any(bytes)?;
    if message.msg_type == MessageType::MsgSnapshot as i32 {
        return Err(MessageError::Unexpected(message.msg_type));
    }
    Ok(message)
}

/// Decodes and checks the message that announces a snapshot: one without the snapshot's bytes.
pub(super) fn decode_snapshot_head(bytes: &[u8]) -> Result<Message, MessageError> {
    let message = decode_any(bytes)?;
    if message.msg_type != MessageType::MsgSnapshot as i32 {
        return Err(MessageError::Unexpected(message.msg_type));
    }
    if !message.get_snapshot().data.is_empty() {
        return Err(MessageError::Inconsistent("a snapshot's bytes travel in chunks"));
    }
    Ok(message)
}

fn decode_any(bytes: &[u8]) -> Result<Message, MessageError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLarge(bytes.len()));
    }
    let message = Message::decode(bytes).map_err(|error| MessageError::Malformed(error.to_string()))?;
    check(&message)?;
    Ok(message)
}

/// Checks a message's form.
///
/// # Errors
/// As [`decode`], but for the size and the encoding.
pub fn check(message: &Message) -> Result<(), MessageError> {
    use MessageType as T;
    let kind = MessageType::from_i32(message.msg_type).ok_or(MessageError::Unexpected(message.msg_type))?;
    if message.from == 0 || message.to == 0 {
        return Err(MessageError::Inconsistent("it names no sender or no receiver"));
    }
    // Proposals are forwarded by the API, with their request ids, never by raft itself.
    if matches!(kind, T::MsgHup | T::MsgBeat | T::MsgUnreachable | T::MsgSnapStatus | T::MsgCheckQuorum)
        || matches!(kind, T::MsgPropose | T::MsgTransferLeader)
    {
        return Err(MessageError::Unexpected(message.msg_type));
    }
    let local_term = matches!(kind, T::MsgReadIndex);
    if (message.term == 0) != local_term {
        return Err(MessageError::Inconsistent("its term doesn't fit its kind"));
    }
    match kind {
        T::MsgAppend => check_entries(message.index, message.term, &message.entries)?,
        T::MsgReadIndex | T::MsgReadIndexResp => {
            if message.entries.len() != 1 {
                return Err(MessageError::Inconsistent("a read carries exactly one context"));
            }
        }
        T::MsgSnapshot => {
            let metadata = message.get_snapshot().get_metadata();
            if metadata.index == 0 || metadata.term == 0 || metadata.term > message.term {
                return Err(MessageError::Inconsistent("its snapshot has no place in the log"));
            }
            if metadata.get_conf_state().voters.is_empty() {
                return Err(MessageError::Inconsistent("its snapshot has no voters"));
            }
        }
        _ => {
            if !message.entries.is_empty() {
                return Err(MessageError::Inconsistent("it carries entries"));
            }
        }
    }
    Ok(())
}

fn check_entries(previous: u64, term: u64, entries: &[Entry]) -> Result<(), MessageError> {
    let mut expected = previous;
    let mut last_term = 0;
    for entry in entries {
        expected = expected.checked_add(1).ok_or(MessageError::Inconsistent("its index overflows"))?;
        if entry.index != expected {
            return Err(MessageError::Inconsistent("its entries leave a gap"));
        }
        if entry.term < last_term || entry.term == 0 || entry.term > term {
            return Err(MessageError::Inconsistent("its entries' terms go backwards or ahead"));
        }
        if EntryType::from_i32(entry.entry_type).is_none() {
            return Err(MessageError::Inconsistent("it carries an entry of an unknown kind"));
        }
        last_term = entry.term;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(entries: Vec<Entry>) -> Message {
        Message {
            msg_type: MessageType::MsgAppend as i32,
            from: 1,
            to: 2,
            term: 3,
            index: 4,
            log_term: 2,
            entries,
            ..Message::default()
        }
    }

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let message = append(vec![entry(5, 2), entry(6, 3)]);
        assert_eq!(decode(&encode(&message)), Ok(message));
    }

    #[test]
    fn what_would_make_raft_panic_is_refused() {
        for message in [
            append(vec![entry(6, 3)]),
            append(vec![entry(5, 4)]),
            append(vec![entry(5, 3), entry(6, 2)]),
            append(vec![Entry { entry_type: 9, ..entry(5, 3) }]),
            Message { from: 0, ..append(vec![]) },
            Message { term: 0, ..append(vec![]) },
            Message { msg_type: 77, ..append(vec![]) },
            Message { msg_type: MessageType::MsgPropose as i32, ..append(vec![]) },
            Message { msg_type: MessageType::MsgHup as i32, ..append(vec![]) },
            Message { msg_type: MessageType::MsgSnapshot as i32, ..append(vec![]) },
            Message { msg_type: MessageType::MsgReadIndex as i32, term: 0, ..append(vec![]) },
            Message { index: u64::MAX, ..append(vec![entry(0, 1)]) },
        ] {
            assert!(decode(&encode(&message)).is_err(), "{message:?}");
        }
        assert!(matches!(decode(&[0xff; 40]), Err(MessageError::Malformed(_))));
        assert!(matches!(decode(&vec![0; MAX_MESSAGE_BYTES + 1]), Err(MessageError::TooLarge(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
