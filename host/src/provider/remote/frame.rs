//! wRPC's framing of a connection: the header of a call, and frames.
//!
//! Spoken byte for byte as version 0 of the protocol in the `wrpc-transport` crate does, and written here
//! rather than taken from there: that crate allocates and zeroes what a peer's length says, spawns two tasks a
//! call, loses why a connection ended, and takes one that ends early for one that is complete. A call without
//! streams needs a header, a frame there and frames back.
//!
//! - header: the byte 0, the instance (the interface), the function, each a LEB128 length and UTF-8;
//! - frame: a path (LEB128 length and elements; empty for parameters and results), a LEB128 length and data.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The version of the protocol, which a header begins with.
const PROTOCOL: u8 = 0;

/// The most that a frame's length makes room for before its data has come.
const STEP: usize = 64 << 10;

/// What is wrong with what a peer sends.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The connection failed or ended inside a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A LEB128 integer has more bits than its type.
    #[error("an integer of more than 32 bits in its framing")]
    Integer,
    /// A frame is for a stream that the call does not have.
    #[error("a frame for a stream, which the function does not have")]
    Path,
    /// The data of all frames is too long.
    #[error("more than {0} bytes")]
    TooLong(usize),
}

/// The header of a call of a function, and the path of the frame of its parameters.
pub(super) fn head(interface: &str, function: &str) -> Vec<u8> {
    let mut head = vec![PROTOCOL];
    for name in [interface, function] {
        leb(name.len() as u64, &mut head);
        head.extend_from_slice(name.as_bytes());
    }
    head.push(0);
    head
}

/// Appends an integer in LEB128.
pub(super) fn leb(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Reads frames until the peer has no more; none if it has sent none. Holds no more than came, and at most
/// `most` bytes.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> Result<Option<Vec<u8>>, FrameError> {
    let mut data = None;
    while let Some(first) = first(stream).await? {
        let path = rest(stream, first).await?;
        if path != 0 {
            return Err(FrameError::Path);
        }
        let first = stream.read_u8().await?;
        let mut left = usize::try_from(rest(stream, first).await?).unwrap_or(usize::MAX);
        let data = data.get_or_insert_with(Vec::new);
        if left > most.saturating_sub(data.len()) {
            return Err(FrameError::TooLong(most));
        }
        while left > 0 {
            let step = left.min(STEP);
            data.reserve(step);
            let came = (&mut *stream).take(step as u64).read_to_end(data).await?;
            if came < step {
                return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            left -= step;
        }
    }
    Ok(data)
}

/// The first byte of a frame; none where the peer is done.
async fn first(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<u8>> {
    match stream.read_u8().await {
        Ok(byte) => Ok(Some(byte)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The rest of a LEB128 integer of 32 bits, whose first byte is known.
async fn rest(stream: &mut (impl AsyncRead + Unpin), first: u8) -> Result<u32, FrameError> {
    let (mut byte, mut value) = (first, u64::from(first & 0x7f));
    for shift in [7, 14, 21, 28] {
        if byte & 0x80 == 0 {
            break;
        }
        byte = stream.read_u8().await?;
        value |= u64::from(byte & 0x7f) << shift;
    }
    match (byte & 0x80, u32::try_from(value)) {
        (0, Ok(value)) => Ok(value),
        _ => Err(FrameError::Integer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        super::read(&mut bytes, 300).await.map_err(|error| error.to_string())
    }

    #[test]
    fn a_head_is_version_interface_function_and_an_empty_path() {
        let long = "x".repeat(200);
        let expected = [b"\0\x0da:b/c@1.0.0-r\xc8\x01", long.as_bytes(), b"\0"].concat();
        assert_eq!(head("a:b/c@1.0.0-r", &long), expected);
    }

    #[tokio::test]
    async fn frames_are_joined_and_their_absence_is_told() {
        assert_eq!(read(b"").await, Ok(None));
        assert_eq!(read(b"\0\0").await, Ok(Some(vec![])));
        assert_eq!(read(b"\0\x02ab\0\x01c").await, Ok(Some(b"abc".to_vec())));
        let long = [b"\0\xac\x02".as_slice(), &[7; 300]].concat();
        assert_eq!(read(&long).await, Ok(Some(vec![7; 300])));
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        for (bytes, error) in [
            (b"\0".as_slice(), "unexpected end of file"),
            (b"\0\x05ab", "unexpected end of file"),
            (b"\0\x80", "unexpected end of file"),
            (b"\x01\0\x01a", "a frame for a stream"),
            (b"\0\xff\xff\xff\xff\x1f", "more than 32 bits"),
            (b"\0\x80\x80\x80\x80\x80\x01", "more than 32 bits"),
            (b"\0\xff\xff\xff\xff\x0f", "more than 300 bytes"),
        ] {
            let told = read(bytes).await.unwrap_err();
            assert!(told.contains(error), "{bytes:?}: {told}");
        }
    }
}
