//! Reading the line that begins a connection, on both sides.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use crate::foreign::may_be_ours;
use crate::net::Stream;
use crate::preamble::LINE_MAX;

/// What came instead of, or as, a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line of ours, its end included; what follows it stays in the buffer.
    Ours(BytesMut),
    /// Bytes that are no line of ours; they are in the buffer.
    Foreign,
    /// The other side closed before its line was whole; what it sent is in the buffer.
    Closed,
}

/// Reads until the line is whole or cannot become one. Bounded by [`LINE_MAX`], not by time.
///
/// # Errors
/// What the connection says.
///
/// # Cancel safety
/// What was read is in `buffer`.
pub async fn read_line(stream: &mut Stream, buffer: &mut BytesMut) -> io::Result<Line> {
    loop {
        if !may_be_ours(buffer) {
            return Ok(Line::Foreign);
        }
        let head = buffer.get(..LINE_MAX.min(buffer.len())).unwrap_or_default();
        if let Some(end) = head.iter().position(|byte| *byte == b'\n') {
            return Ok(Line::Ours(buffer.split_to(end + 1)));
        }
        if buffer.len() >= LINE_MAX {
            return Ok(Line::Foreign);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(Line::Closed);
        }
    }
}
