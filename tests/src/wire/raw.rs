//! A client that sends whatever bytes a test wants.

use std::io;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use dsync::api::{NodeRequest, NodeResponse};
use dsync::codec::{ClientCodec, FRAME_MAX_CLIENT, Inbound};
use tarpc::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Decoder;

/// A raw connection.
#[derive(Debug)]
pub struct Raw {
    /// The socket.
    pub socket: TcpStream,
    buffer: BytesMut,
}

/// A frame around a body, with the right checksum.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 8);
    bytes.put_u32(u32::try_from(body.len()).expect("short"));
    bytes.put_u32(crc32c::crc32c(body));
    bytes.extend_from_slice(body);
    bytes
}

/// A request as tarpc lays it out, with any deadline and any bytes for its message.
pub fn request_frame(id: u64, deadline: (u64, u32), message: &[u8]) -> Vec<u8> {
    let mut body = postcard::to_stdvec(&(0_u32, deadline)).expect("encodes");
    let trace = ([0_u8; 16], 0_u64, 1_u32);
    body.extend(postcard::to_stdvec(&(trace, id)).expect("encodes"));
    body.extend_from_slice(message);
    frame(&body)
}

impl Raw {
    /// Connects and says nothing.
    ///
    /// # Errors
    /// What the network says.
    pub async fn silent(address: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, buffer: BytesMut::new() })
    }

    /// Connects and greets as a client.
    ///
    /// # Panics
    /// When the greeting fails.
    pub async fn greeted(address: &str) -> Self {
        let mut raw = Self::silent(address).await.expect("connect");
        raw.send(b"DSYNC/1 plane=client id=raw ver=0.1.0\r\n").await.expect("send");
        let line = raw.line().await.expect("a greeting");
        assert!(line.starts_with("DSYNC/1 OK "), "{line}");
        raw
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// What the network says.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Sends a request with a deadline of 30 s.
    ///
    /// # Errors
    /// What the network says.
    pub async fn request(&mut self, id: u64, message: &NodeRequest) -> io::Result<()> {
        let message = postcard::to_stdvec(message).expect("encodes");
        self.send(&request_frame(id, (30, 0), &message)).await
    }

    /// Reads up to a line end, or the end of the stream.
    ///
    /// # Errors
    /// What the network says.
    pub async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            match self.socket.read_u8().await {
                Ok(byte) => line.push(byte),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// The next reply.
    ///
    /// # Errors
    /// What the network says; `UnexpectedEof` when the node has closed.
    pub async fn reply(&mut self) -> io::Result<Response<NodeResponse>> {
        let mut codec = ClientCodec::<NodeRequest, NodeResponse>::new(FRAME_MAX_CLIENT);
        loop {
            if let Some(Inbound::Message(reply)) = codec.decode(&mut self.buffer)? {
                return Ok(reply);
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits until the node closes; what it still said.
    ///
    /// # Panics
    /// When it does not within 30 s.
    pub async fn until_closed(&mut self) -> Vec<u8> {
        let mut said = std::mem::take(&mut self.buffer).to_vec();
        let read = self.socket.read_to_end(&mut said);
        let read = tokio::time::timeout(Duration::from_secs(30), read).await;
        if let Err(error) = read.expect("closed within 30 s") {
            // A reset is a close too.
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
        said
    }
}

/// A server that answers whatever comes with those bytes and closes; its address.
///
/// # Panics
/// When it cannot listen.
pub async fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address").to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut line = [0; 512];
                let read = socket.read(&mut line).await?;
                socket.write_all(bytes).await?;
                if bytes.starts_with(b"DSYNC/1 OK") && read > 0 {
                    // Takes one request more, and hangs up.
                    let _request: usize = socket.read(&mut line).await?;
                }
                socket.shutdown().await
            });
        }
    });
    address
}

/// Lets this process open as many files as it may.
///
/// # Panics
/// When the limit cannot be set.
pub fn many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a limit");
}
