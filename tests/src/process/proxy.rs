//! A user-space network in front of each node: delay, cut, hold back, corrupt, in one direction.
//!
//! Nodes advertise the proxy's address, so that everything between them passes through it. Who
//! dials is read from the greeting line (`id=`); a rule is about bytes from one node to another,
//! on whichever of the two opened the connection.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What happens to bytes from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rule {
    /// Nothing arrives; what was sent arrives after the rule is lifted, as TCP repeats it.
    pub hold: bool,
    /// Added latency.
    pub delay: Duration,
    /// Chance per piece that the connection is reset instead.
    pub reset: f64,
    /// Chance per piece that one byte of it is altered.
    pub corrupt: f64,
}

/// How often each fault really happened.
#[derive(Debug, Default)]
pub struct Fired {
    /// Pieces held back.
    pub held: AtomicU64,
    /// Pieces delayed.
    pub delayed: AtomicU64,
    /// Connections reset.
    pub reset: AtomicU64,
    /// Pieces altered.
    pub corrupted: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    rules: Mutex<BTreeMap<(String, String), Rule>>,
    random: Mutex<SmallRng>,
    fired: Fired,
}

/// The rules of a cluster's network; cheap to clone.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Shared>);

impl Faults {
    /// No fault yet; `seed` decides which pieces are hit.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Shared {
            rules: Mutex::default(),
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            fired: Fired::default(),
        }))
    }

    /// Sets what happens to bytes from `from` to `to`.
    pub fn set(&self, from: &str, to: &str, rule: Rule) {
        self.0.rules.lock().insert((from.to_owned(), to.to_owned()), rule);
    }

    /// The same in both directions.
    pub fn set_both(&self, a: &str, b: &str, rule: Rule) {
        self.set(a, b, rule);
        self.set(b, a, rule);
    }

    /// Nothing passes between `node` and `others`.
    pub fn isolate(&self, node: &str, others: &[&str]) {
        for other in others.iter().filter(|o| **o != node) {
            self.set_both(node, other, Rule { hold: true, ..Rule::default() });
        }
    }

    /// Lifts every rule.
    pub fn heal(&self) {
        self.0.rules.lock().clear();
    }

    /// What happened so far.
    pub fn fired(&self) -> &Fired {
        &self.0.fired
    }

    fn rule(&self, from: &str, to: &str) -> Rule {
        let rules = self.0.rules.lock();
        rules.get(&(from.to_owned(), to.to_owned())).copied().unwrap_or_default()
    }

    fn hit(&self, chance: f64) -> bool {
        chance > 0.0 && self.0.random.lock().random_bool(chance)
    }
}

/// The proxy in front of one node. Dropping it closes its listener and connections.
#[derive(Debug)]
pub struct Proxy {
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on `listen` for the node of that name, which itself listens on `target`.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(node: &str, listen: &str, target: &str, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let (node, target) = (node.to_owned(), target.to_owned());
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let carry = carry(stream, node.clone(), target.clone(), faults.clone());
                        connections.spawn(carry);
                    }
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { accepting })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries one connection; ends when either side, or a fault, ends it.
async fn carry(mut dialer: TcpStream, node: String, target: String, faults: Faults) {
    let Ok((first, from)) = greeting(&mut dialer).await else { return };
    let Ok(server) = TcpStream::connect(&target).await else { return };
    if dialer.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
        return;
    }
    let (dialer_in, dialer_out) = dialer.into_split();
    let (server_in, server_out) = server.into_split();
    let there = flow(faults.clone(), (from.clone(), node.clone()), first, dialer_in, server_out);
    let back = flow(faults, (node, from), Vec::new(), server_in, dialer_out);
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// Reads up to the first line's end and gives what was read and who says it dials.
async fn greeting(stream: &mut TcpStream) -> io::Result<(Vec<u8>, String)> {
    let mut read = Vec::new();
    let mut piece = [0_u8; 512];
    while !read.contains(&b'\n') && read.len() < 512 {
        let count = timeout(Duration::from_secs(5), stream.read(&mut piece)).await??;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend(piece.iter().take(count));
    }
    let line = String::from_utf8_lossy(&read);
    let line = line.lines().next().unwrap_or_default();
    let id = line.split_whitespace().find_map(|word| word.strip_prefix("id="));
    let id = if line.contains("plane=client") { "client" } else { id.unwrap_or("stranger") };
    Ok((read.clone(), id.to_owned()))
}

/// Moves bytes one way under the rule for (from, to), until either end closes or a reset fires.
async fn flow(
    faults: Faults,
    (from, to): (String, String),
    first: Vec<u8>,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) {
    let (queue, mut arrivals) = mpsc::channel::<(Instant, Vec<u8>)>(1_024);
    let reading = async move {
        let mut piece = first;
        let mut buffer = vec![0_u8; 64 * 1024];
        loop {
            if !piece.is_empty() && queue.send((Instant::now(), piece)).await.is_err() {
                return;
            }
            match input.read(&mut buffer).await {
                Ok(count) if count > 0 => piece = buffer.iter().take(count).copied().collect(),
                _ => return,
            }
        }
    };
    let writing = async {
        while let Some((sent, mut piece)) = arrivals.recv().await {
            let rule = wait_for_passage(&faults, &from, &to).await;
            if !rule.delay.is_zero() {
                faults.fired().delayed.fetch_add(1, Ordering::Relaxed);
                sleep_until(sent + rule.delay).await;
            }
            if faults.hit(rule.reset) {
                faults.fired().reset.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if faults.hit(rule.corrupt) {
                faults.fired().corrupted.fetch_add(1, Ordering::Relaxed);
                let at = faults.0.random.lock().random_range(0..piece.len());
                if let Some(byte) = piece.get_mut(at) {
                    *byte ^= 1 << (at % 8);
                }
            }
            if output.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    // What was read before the input closed is still written: the writer ends when the queue does.
    let reading = async {
        reading.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

async fn wait_for_passage(faults: &Faults, from: &str, to: &str) -> Rule {
    let mut counted = false;
    loop {
        let rule = faults.rule(from, to);
        if !rule.hold {
            return rule;
        }
        if !counted {
            faults.fired().held.fetch_add(1, Ordering::Relaxed);
            counted = true;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ports::Ports;

    async fn echo(address: &str) -> JoinHandle<()> {
        let listener = TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut input, mut output) = stream.split();
                    drop(tokio::io::copy(&mut input, &mut output).await);
                });
            }
        })
    }

    async fn setup() -> (Ports, Faults, Proxy, JoinHandle<()>, TcpStream) {
        let mut ports = Ports::claim();
        let target = format!("127.0.0.1:{}", ports.take());
        let listen = format!("127.0.0.1:{}", ports.take());
        let server = echo(&target).await;
        let faults = Faults::new(1);
        let proxy = Proxy::start("b", &listen, &target, faults.clone()).await.unwrap();
        let stream = TcpStream::connect(&listen).await.unwrap();
        (ports, faults, proxy, server, stream)
    }

    async fn say(stream: &mut TcpStream, line: &str) -> io::Result<String> {
        stream.write_all(line.as_bytes()).await?;
        let mut answer = vec![0; line.len()];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    const HELLO: &str = "DSYNC/1 plane=peer id=a ver=0\r\n";

    #[tokio::test]
    async fn without_a_rule_bytes_pass_unchanged() {
        let (_ports, _faults, _proxy, _server, mut stream) = setup().await;
        assert_eq!(say(&mut stream, HELLO).await.unwrap(), HELLO);
        let long = "x".repeat(300_000);
        let (mut input, mut output) = stream.split();
        let mut answer = vec![0; long.len()];
        let (sent, got) =
            tokio::join!(output.write_all(long.as_bytes()), input.read_exact(&mut answer));
        sent.unwrap();
        got.unwrap();
        assert_eq!(answer, long.as_bytes());
    }

    #[tokio::test]
    async fn a_one_way_hold_stops_one_way_and_delivers_later() {
        let (_ports, faults, _proxy, _server, mut stream) = setup().await;
        say(&mut stream, HELLO).await.unwrap();
        faults.set("b", "a", Rule { hold: true, ..Rule::default() });
        let silent = timeout(Duration::from_millis(200), say(&mut stream, "ping\n")).await;
        assert!(silent.is_err(), "the answer is held back");
        assert!(faults.fired().held.load(Ordering::Relaxed) > 0);
        faults.heal();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping\n");
    }

    #[tokio::test]
    async fn a_reset_and_a_corruption_fire_and_are_counted() {
        let (_ports, faults, _proxy, _server, mut stream) = setup().await;
        say(&mut stream, HELLO).await.unwrap();
        faults.set("a", "b", Rule { corrupt: 1.0, ..Rule::default() });
        assert_ne!(say(&mut stream, "ping\n").await.unwrap(), "ping\n");
        assert_eq!(faults.fired().corrupted.load(Ordering::Relaxed), 1);
        faults.set("a", "b", Rule { reset: 1.0, ..Rule::default() });
        assert!(say(&mut stream, "ping\n").await.is_err(), "the connection is gone");
        assert_eq!(faults.fired().reset.load(Ordering::Relaxed), 1);
    }
}
