//! Messages to bytes and back: a frame is the length of its body (four bytes, big-endian), the
//! CRC-32C of its body (four more), and the body, postcard.
//!
//! Both directions have one limit, checked in one place each:
//! - a request that is too large fails for its caller alone, before anything is sent;
//! - a reply that is too large is replaced by a [`Fault`] that says so, and the connection lives;
//! - a frame that claims to be larger is an error before any of it is kept, and so is a frame that
//!   does not decode. Where at least its envelope does, that request alone is answered with an
//!   error: it may come from a later version that knows a request which this one does not.
//!
//! A frame whose checksum does not match is never decoded: it ends its connection, in whichever
//! direction it went. Altered bytes often still decode, to another message; Raft between nodes
//! trusts what it is told, and TCP's own checksum of 16 bits lets too much through.
//!
//! Deadlines are clamped *before* tarpc's own types see them: `Instant::now() + u64::MAX seconds`
//! panics, and so does a timer more than two years away.

use std::borrow::Cow;
use std::io;
use std::marker::PhantomData;

use bytes::{Buf, BufMut, BytesMut};
use dsync_core::{Code, Effect, Fault};
use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tarpc::{ClientMessage, Response, ServerError};
use tokio_util::codec::{Decoder, Encoder};

use crate::api::{Answer, NodeResponse};
use crate::peer::PeerResponse;

/// Largest frame from and to clients.
pub const FRAME_MAX_CLIENT: usize = 1024 * 1024;
/// Largest frame between nodes.
pub const FRAME_MAX_PEER: usize = 16 * 1024 * 1024;
/// Longest deadline that a request gets, whatever it asks for.
pub const DEADLINE_MAX_S: u64 = 600;
/// Shortest one in nanoseconds, so that a handler with its answer ready can give it.
pub const DEADLINE_MIN_NS: u32 = 10_000_000;

/// What arrived.
#[derive(Debug)]
pub enum Inbound<In, Out> {
    /// A message.
    Message(In),
    /// Something unreadable that is to be answered with this.
    Answer(Out),
}

/// A reply that can say of itself that it is too large.
pub trait Reply: Serialize {
    /// The same reply with `fault` as its result.
    #[must_use]
    fn with_fault(&self, fault: Fault) -> Self;
}

fn faulty<T>(answer: &Answer<T>, fault: Fault) -> Answer<T> {
    Answer {
        served_by: answer.served_by.clone(),
        address: answer.address.clone(),
        result: Err(fault),
    }
}

impl Reply for NodeResponse {
    fn with_fault(&self, fault: Fault) -> Self {
        match self {
            Self::Lock(answer) => Self::Lock(faulty(answer, fault)),
            Self::Admin(answer) => Self::Admin(faulty(answer, fault)),
            Self::Queue(answer) => Self::Queue(faulty(answer, fault)),
            Self::Cache(answer) => Self::Cache(faulty(answer, fault)),
        }
    }
}

impl Reply for PeerResponse {
    fn with_fault(&self, fault: Fault) -> Self {
        match self {
            Self::Hello(_) => Self::Hello(Err(fault)),
            Self::Raft(_) => Self::Raft(Err(fault)),
            Self::Cache(_) => Self::Cache(Err(fault)),
        }
    }
}

/// The dialing side's codec: requests out, replies in.
#[derive(Debug)]
pub struct ClientCodec<Req, Resp> {
    frame_max: usize,
    kinds: PhantomData<fn(Req) -> Resp>,
}

/// The answering side's codec: requests in, replies out.
#[derive(Debug)]
pub struct ServerCodec<Req, Resp> {
    frame_max: usize,
    kinds: PhantomData<fn(Req) -> Resp>,
}

impl<Req, Resp> ClientCodec<Req, Resp> {
    /// A codec whose frames are at most `frame_max` bytes long.
    pub const fn new(frame_max: usize) -> Self {
        Self { frame_max, kinds: PhantomData }
    }
}

impl<Req, Resp> ServerCodec<Req, Resp> {
    /// A codec whose frames are at most `frame_max` bytes long.
    pub const fn new(frame_max: usize) -> Self {
        Self { frame_max, kinds: PhantomData }
    }
}

impl<Req: Serialize, Resp> Encoder<ClientMessage<Req>> for ClientCodec<Req, Resp> {
    type Error = io::Error;
    fn encode(&mut self, item: ClientMessage<Req>, to: &mut BytesMut) -> io::Result<()> {
        put(&item, self.frame_max, to).map_err(|error| match error {
            PutError::TooLarge(size) => io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the request is {size} bytes, at most {} are allowed", self.frame_max),
            ),
            PutError::Codec(error) => bad(format!("the request does not encode: {error}")),
        })
    }
}

impl<Req, Resp: DeserializeOwned> Decoder for ClientCodec<Req, Resp> {
    type Item = Inbound<Response<Resp>, ClientMessage<Req>>;
    type Error = io::Error;
    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        let Some(frame) = frame(from, self.frame_max)? else { return Ok(None) };
        let decoded = body(from, &frame).and_then(whole);
        from.advance(HEADER + frame.length);
        decoded.map(|message| Some(Inbound::Message(message)))
    }
}

impl<Req, Resp: Reply> Encoder<Response<Resp>> for ServerCodec<Req, Resp> {
    type Error = io::Error;
    fn encode(&mut self, item: Response<Resp>, to: &mut BytesMut) -> io::Result<()> {
        let fault = match put(&item, self.frame_max, to) {
            Ok(()) => return Ok(()),
            Err(PutError::TooLarge(size)) => Fault {
                effect: Effect::Done,
                ..Fault::new(
                    Code::LimitReached,
                    format!("the reply is {size} bytes, at most {} are allowed", self.frame_max),
                )
                .hint("ask for less at once: a smaller limit, a longer prefix")
            },
            Err(PutError::Codec(error)) => {
                Fault::new(Code::Internal, format!("the reply does not encode: {error}"))
            }
        };
        let message = item.message.map(|reply| reply.with_fault(fault));
        let smaller = Response { request_id: item.request_id, message };
        put(&smaller, self.frame_max, to).map_err(|_| bad("a fault does not encode".to_owned()))
    }
}

impl<Req: DeserializeOwned, Resp> Decoder for ServerCodec<Req, Resp> {
    type Item = Inbound<ClientMessage<Req>, Response<Resp>>;
    type Error = io::Error;
    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        let Some(frame) = frame(from, self.frame_max)? else { return Ok(None) };
        let decoded = body(from, &frame).and_then(request);
        from.advance(HEADER + frame.length);
        decoded.map(Some)
    }
}

/// Bytes of a body's length.
const LENGTH: usize = 4;
/// Bytes before a body: its length and its checksum.
const HEADER: usize = LENGTH + 4;

/// What stands before a body.
struct Frame {
    length: usize,
    checksum: u32,
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The frame that `from` begins with, once all of it is there. Its length alone is judged before.
fn frame(from: &mut BytesMut, max: usize) -> io::Result<Option<Frame>> {
    let Some((length, rest)) = from.split_first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let checksum = rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    if length > max {
        return Err(bad(format!("a frame claims {length} bytes, at most {max} are allowed")));
    }
    match checksum {
        Some(checksum) if from.len() >= HEADER + length => Ok(Some(Frame { length, checksum })),
        _ => {
            from.reserve(HEADER + length - from.len());
            Ok(None)
        }
    }
}

/// The body of a frame, as it was sent.
fn body<'a>(from: &'a BytesMut, frame: &Frame) -> io::Result<&'a [u8]> {
    let body = from.get(HEADER..HEADER + frame.length);
    let body = body.ok_or_else(|| bad("a frame is cut".to_owned()))?;
    if crc32c::crc32c(body) == frame.checksum {
        Ok(body)
    } else {
        Err(bad("a frame was altered on its way: its checksum does not match".to_owned()))
    }
}

/// Decodes a value that must take up all of the bytes.
fn whole<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(bad(format!("{} bytes too many in a frame", rest.len()))),
        Err(error) => Err(bad(format!("a frame does not decode: {error}"))),
    }
}

/// Decodes a request, its deadline clamped; of an unknown one at least whose it is.
fn request<Req: DeserializeOwned, Resp>(
    bytes: &[u8],
) -> io::Result<Inbound<ClientMessage<Req>, Response<Resp>>> {
    let bytes = clamp_deadline(bytes);
    whole(&bytes).map(Inbound::Message).or_else(|error| {
        let Ok((Envelope::Request { id, .. }, _)) = postcard::take_from_bytes(&bytes) else {
            return Err(error);
        };
        let detail = format!("this node cannot read the request: {error}");
        let refused = ServerError::new(io::ErrorKind::InvalidData, detail);
        Ok(Inbound::Answer(Response { request_id: id, message: Err(refused) }))
    })
}

/// [`ClientMessage`] up to its payload.
#[derive(Deserialize)]
enum Envelope {
    Request {
        #[expect(dead_code, reason = "only its place counts")]
        context: tarpc::context::Context,
        id: u64,
    },
}

/// The same message with a deadline within bounds. A request begins with variant 0, then the
/// seconds and the nanoseconds until its deadline; anything else comes back as it is.
fn clamp_deadline(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Ok(((0_u32, seconds, nanos), rest)) = postcard::take_from_bytes::<(u32, u64, u32)>(bytes)
    else {
        return Cow::Borrowed(bytes);
    };
    let clamped: (u64, u32) = if seconds > DEADLINE_MAX_S {
        (DEADLINE_MAX_S, 0)
    } else if seconds == 0 && nanos < DEADLINE_MIN_NS {
        (0, DEADLINE_MIN_NS)
    } else {
        return Cow::Borrowed(bytes);
    };
    match postcard::to_extend(&(0_u32, clamped), Vec::with_capacity(bytes.len() + 8)) {
        Ok(mut head) => {
            head.extend_from_slice(rest);
            Cow::Owned(head)
        }
        Err(_) => Cow::Borrowed(&[]),
    }
}

enum PutError {
    TooLarge(usize),
    Codec(postcard::Error),
}

/// Appends a frame with `item`; on an error `to` is as before.
fn put<T: Serialize>(item: &T, max: usize, to: &mut BytesMut) -> Result<(), PutError> {
    let start = to.len();
    to.put_bytes(0, HEADER);
    let end = start + HEADER + max;
    let written = postcard::serialize_with_flavor(item, Into { to, end });
    match written {
        Ok(()) => {
            if let Some((header, body)) =
                to.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<HEADER>)
            {
                let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
                let whole = u64::from(length) << 32 | u64::from(crc32c::crc32c(body));
                *header = whole.to_be_bytes();
            }
            Ok(())
        }
        Err(error) => {
            to.truncate(start);
            match postcard::experimental::serialized_size(item) {
                Ok(size) if size > max => Err(PutError::TooLarge(size)),
                _ => Err(PutError::Codec(error)),
            }
        }
    }
}

/// Writes into a buffer up to a length.
struct Into<'a> {
    to: &'a mut BytesMut,
    end: usize,
}

impl Flavor for Into<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if data.len() > self.end.saturating_sub(self.to.len()) {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.to.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.try_extend(&[data])
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
