use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::api::{AdminRequest, Head, LockReply, NodeRequest};

type Server = ServerCodec<NodeRequest, NodeResponse>;
type Client = ClientCodec<NodeRequest, NodeResponse>;

/// A frame around a body, with the right checksum.
fn framed(body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(body.len()).unwrap());
    bytes.put_u32(crc32c::crc32c(body));
    bytes.extend_from_slice(body);
    bytes
}

/// A request as it travels, with that deadline.
fn request_bytes(seconds: u64, nanos: u32, message: &[u8]) -> BytesMut {
    let mut body = postcard::to_stdvec(&(0_u32, seconds, nanos)).unwrap();
    // Trace: 16 bytes of trace id, span id 0, unsampled. Then request id 7.
    body.extend_from_slice(&postcard::to_stdvec(&([0_u8; 16], 0_u64, 1_u32, 7_u64)).unwrap());
    body.extend_from_slice(message);
    framed(&body)
}

fn ping() -> Vec<u8> {
    let message = NodeRequest::Admin { head: Head::default(), request: AdminRequest::Ping };
    postcard::to_stdvec(&message).unwrap()
}

fn time_left(bytes: &mut BytesMut) -> Duration {
    match Server::new(1_024).decode(bytes).unwrap().unwrap() {
        Inbound::Message(ClientMessage::Request(request)) => {
            assert_eq!(request.id, 7);
            request
                .context
                .deadline
                .saturating_duration_since(tokio::time::Instant::now().into_std())
        }
        other @ (Inbound::Message(_) | Inbound::Answer(_)) => panic!("{other:?}"),
    }
}

#[test]
fn hostile_deadlines_are_clamped() {
    let longest = Duration::from_secs(DEADLINE_MAX_S);
    for (seconds, nanos) in [(u64::MAX, 0), (u64::MAX, u32::MAX), (94_608_000, 0), (601, 0)] {
        let left = time_left(&mut request_bytes(seconds, nanos, &ping()));
        assert!(left <= longest && left + Duration::from_secs(60) > longest, "{left:?}");
    }
    assert!(time_left(&mut request_bytes(0, 0, &ping())) <= Duration::from_millis(10));
    let left = time_left(&mut request_bytes(30, 5, &ping()));
    assert!(left <= Duration::from_secs(31), "{left:?}");
}

#[test]
fn an_unknown_request_is_answered_and_garbage_is_not() {
    let mut codec = Server::new(1_024);
    for unknown in [&[9_u8, 1, 2, 3][..], &[]] {
        let mut bytes = request_bytes(5, 0, unknown);
        match codec.decode(&mut bytes).unwrap().unwrap() {
            Inbound::Answer(response) => {
                assert_eq!(response.request_id, 7);
                assert!(response.message.unwrap_err().detail.contains("cannot read the request"));
            }
            Inbound::Message(message) => panic!("{message:?}"),
        }
        assert!(bytes.is_empty(), "the frame is used up");
    }
    let mut trailing = ping();
    trailing.push(0);
    assert!(matches!(
        codec.decode(&mut request_bytes(5, 0, &trailing)).unwrap().unwrap(),
        Inbound::Answer(_)
    ));
    for garbage in [&[255, 255, 255][..], &[]] {
        let error = codec.decode(&mut framed(garbage)).unwrap_err();
        assert!(error.to_string().contains("does not decode"), "{error}");
    }
}

/// Every single bit of a request and of a reply, body and checksum.
#[test]
fn an_altered_frame_is_never_decoded() {
    let altered = |error: io::Error| {
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().starts_with("a frame was altered on its way"), "{error}");
    };
    let request = request_bytes(5, 0, &ping());
    let mut reply = BytesMut::new();
    let answer = Answer {
        served_by: "n1".into(),
        address: "a:1".into(),
        result: Ok(LockReply::Events { items: Vec::new(), next_index: 1, gap: false }),
    };
    let response = Response { request_id: 3, message: Ok(NodeResponse::Lock(answer)) };
    Server::new(1_000).encode(response, &mut reply).unwrap();
    for bit in LENGTH * 8..request.len() * 8 {
        let mut bytes = request.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        altered(Server::new(1_000).decode(&mut bytes).unwrap_err());
    }
    for bit in LENGTH * 8..reply.len() * 8 {
        let mut bytes = reply.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        altered(Client::new(1_000).decode(&mut bytes).unwrap_err());
    }
    // A shorter length gives other bytes; a longer one waits for more of them.
    let mut bytes = request;
    bytes[LENGTH - 1] -= 1;
    altered(Server::new(1_000).decode(&mut bytes).unwrap_err());
}

/// What other programs may rely on.
#[test]
fn the_bytes_of_a_frame() {
    let message = Response {
        request_id: 7,
        message: Err(ServerError::new(io::ErrorKind::Other, String::new())),
    };
    let mut bytes = BytesMut::new();
    Server::new(100).encode(message, &mut bytes).unwrap();
    let body = bytes.split_off(8);
    assert_eq!(bytes[..4], u32::try_from(body.len()).unwrap().to_be_bytes());
    assert_eq!(bytes[4..], crc32c::crc32c(&body).to_be_bytes());
    // The standard's check value: it is CRC-32C and no other.
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn frames_have_a_limit_at_its_border() {
    let mut codec = Server::new(100);
    let mut whole = request_bytes(5, 0, &ping());
    let mut half = whole.split_to(10);
    assert!(codec.decode(&mut half).unwrap().is_none());
    half.unsplit(whole);
    assert!(codec.decode(&mut half).unwrap().is_some());
    for claim in [101, u32::MAX] {
        let mut bytes = BytesMut::new();
        bytes.put_u32(claim);
        assert!(codec.decode(&mut bytes).is_err());
        assert!(bytes.capacity() < 10_000, "nothing is kept for a frame that is refused");
    }
    let mut bytes = BytesMut::new();
    bytes.put_u32(100);
    assert!(codec.decode(&mut bytes).unwrap().is_none(), "the limit itself is allowed");
}

#[test]
fn a_reply_that_is_too_large_becomes_a_fault() {
    let answer = |items| {
        NodeResponse::Lock(Answer {
            served_by: "n1".into(),
            address: "a:1".into(),
            result: Ok(LockReply::Events { items, next_index: 1, gap: false }),
        })
    };
    let event = dsync_core::lock::Event {
        index: 1,
        at_ms: 1,
        kind: dsync_core::lock::EventKind::SessionExpired {
            session: dsync_core::lock::SessionId(1),
            owner: dsync_core::name::Name::parse("owner", &"x".repeat(200)).unwrap(),
        },
    };
    let mut bytes = BytesMut::from(&b"before"[..]);
    let response = Response { request_id: 3, message: Ok(answer(vec![event; 10])) };
    Server::new(1_000).encode(response, &mut bytes).unwrap();
    assert!(bytes.starts_with(b"before"));
    bytes.advance(6);
    match Client::new(1_000).decode(&mut bytes).unwrap().unwrap() {
        Inbound::Message(Response { request_id: 3, message: Ok(NodeResponse::Lock(answer)) }) => {
            let fault = answer.result.unwrap_err();
            assert_eq!((fault.code, fault.effect), (Code::LimitReached, Effect::Done));
            assert!(fault.message.contains("at most 1000"), "{fault}");
            assert_eq!(answer.served_by, "n1");
        }
        other @ (Inbound::Message(_) | Inbound::Answer(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_request_that_is_too_large_leaves_the_buffer_alone() {
    let head = Head { target: Some("x".repeat(200)), ..Head::default() };
    let message = NodeRequest::Admin { head, request: AdminRequest::Ping };
    let request = tarpc::Request { context: tarpc::context::current(), id: 1, message };
    let mut bytes = BytesMut::from(&b"before"[..]);
    let error = Client::new(100).encode(ClientMessage::Request(request), &mut bytes).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(&bytes[..], b"before");
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        seconds in any::<u64>(), nanos in any::<u32>(),
    ) {
        let mut raw = BytesMut::from(&bytes[..]);
        drop(Server::new(1_024).decode(&mut raw));
        drop(Client::new(1_024).decode(&mut BytesMut::from(&bytes[..])));
        drop(Server::new(1_024).decode(&mut request_bytes(seconds, nanos, &bytes)));
        drop(Server::new(1_024).decode(&mut framed(&bytes)));
        drop(Client::new(1_024).decode(&mut framed(&bytes)));
    }

    /// Lengths inside a message that claim up to 2^64-1 bytes.
    #[test]
    fn claimed_lengths(claim in prop::sample::select(vec![1_u64 << 32, 1 << 40, u64::MAX]), at in 0_usize..40) {
        let body = request_bytes(5, 0, &ping()).split_off(HEADER);
        let (before, after) = body.split_at(at.min(body.len() - 1));
        let claim = postcard::to_stdvec(&claim).unwrap();
        let hostile = [before, &claim, after].concat();
        drop(Server::new(1_024).decode(&mut framed(&hostile)));
    }
}
