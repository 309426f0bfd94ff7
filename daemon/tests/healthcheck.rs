//! `dsd healthcheck` against what may answer at a node's port. A real node is asked in the process
//! tests.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;

use dsync::preamble::Greeting;
use dsync_core::node::Role;
use socket2::{Domain, Socket, Type};

/// Exit code and stderr of a health check of `node-1` at that port.
fn check(port: u16, args: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsd"));
    command.arg("healthcheck").args(args).env_clear();
    command.env("NODE_ID", "node-1").env("NODE_PORT", port.to_string());
    command.envs(environment.iter().copied());
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

/// Answers one connection with those bytes, then hangs up.
fn answering(bytes: Vec<u8>) -> (u16, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = vec![0; 512];
        let count = stream.read(&mut asked).unwrap();
        stream.write_all(&bytes).unwrap();
        asked.truncate(count);
        asked
    });
    (port, thread)
}

fn greeting(id: &str) -> Vec<u8> {
    let greeting = Greeting {
        id: id.to_owned(),
        role: Role::Lock,
        cluster: None,
        proto: (1, 1),
        version: "0.1.0".to_owned(),
    };
    greeting.encode().unwrap().into_bytes()
}

#[test]
fn a_node_that_greets_is_alive() {
    for host in ["127.0.0.1", "0.0.0.0", "localhost"] {
        let (port, thread) = answering(greeting("node-1"));
        assert_eq!(check(port, &[], &[("NODE_HOST", host)]), (0, String::new()), "{host}");
        let asked = String::from_utf8(thread.join().unwrap()).unwrap();
        assert!(asked.starts_with("DSYNC/1 plane=client id=healthcheck ver="), "{asked}");
        assert!(asked.ends_with("\r\n"), "{asked:?}");
    }
}

#[test]
fn another_node_at_the_port_is_not_this_one() {
    let (port, thread) = answering(greeting("node-2"));
    let (code, stderr) = check(port, &[], &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("node node-2 answers there, not node-1"), "{stderr}");
    thread.join().unwrap();
}

#[test]
fn a_node_that_only_greets_is_not_ready() {
    let (port, thread) = answering(greeting("node-1"));
    let (code, stderr) = check(port, &["--ready"], &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("the node greets but does not answer"), "{stderr}");
    thread.join().unwrap();
}

#[test]
fn what_is_no_node_is_told_apart() {
    // Bound, so that nobody else gets the port, but not listening.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = bound.local_addr().unwrap().as_socket().unwrap().port();
    let (code, stderr) = check(port, &[], &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("connection refused"), "{stderr}");
    let (port, thread) = answering(b"-ERR unknown command\r\n".to_vec());
    let (code, stderr) = check(port, &[], &[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("Redis answers there"), "{stderr}");
    thread.join().unwrap();
}

#[test]
fn a_bad_configuration_is_78() {
    let (code, stderr) = check(1, &["--env-file", "none.env"], &[("NODE_HOST", "a:1")]);
    assert_eq!(code, 78);
    assert!(stderr.contains("2 problems"), "{stderr}");
}
