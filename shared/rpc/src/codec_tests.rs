use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::api::{AdminRequest, Head, LockReply, NodeRequest};

type Server = ServerCodec<NodeRequest, NodeResponse>;
type Client = ClientCodec<NodeRequest, NodeResponse>;

/// A request as it travels, with that deadline.
fn request_bytes(seconds: u64, nanos: u32, message: &[u8]) -> BytesMut {
    let mut body = postcard::to_stdvec(&(0_u32, seconds, nanos)).unwrap();
    // Trace: 16 bytes of trace id, span id 0, unsampled. Then request id 7.
    body.extend_from_slice(&postcard::to_stdvec(&([0_u8; 16], 0_u64, 1_u32, 7_u64)).unwrap());
    body.extend_from_slice(message);
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(body.len()).unwrap());
    bytes.extend_from_slice(&body);
    bytes
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
    let mut garbage = BytesMut::from(&[0, 0, 0, 3, 255, 255, 255][..]);
    assert!(codec.decode(&mut garbage).is_err());
    let mut empty = BytesMut::from(&[0, 0, 0, 0][..]);
    assert!(codec.decode(&mut empty).is_err());
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
        let mut framed = BytesMut::new();
        framed.put_u32(u32::try_from(bytes.len()).unwrap());
        framed.extend_from_slice(&bytes);
        drop(Server::new(1_024).decode(&mut framed.clone()));
        drop(Client::new(1_024).decode(&mut framed));
    }

    /// Lengths inside a message that claim up to 2^64-1 bytes.
    #[test]
    fn claimed_lengths(claim in prop::sample::select(vec![1_u64 << 32, 1 << 40, u64::MAX]), at in 0_usize..40) {
        let mut bytes = request_bytes(5, 0, &ping());
        let at = 4 + at.min(bytes.len() - 5);
        let mut hostile = bytes.split_to(at);
        hostile.extend_from_slice(&postcard::to_stdvec(&claim).unwrap());
        hostile.extend_from_slice(&bytes);
        let length = u32::try_from(hostile.len() - 4).unwrap();
        hostile[..4].copy_from_slice(&length.to_be_bytes());
        drop(Server::new(1_024).decode(&mut hostile));
    }
}
