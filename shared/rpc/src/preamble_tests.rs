use proptest::prelude::*;

use super::*;

fn hail(id: &str) -> Hail {
    Hail { plane: Plane::Client, id: id.into(), version: "0.1.0".into(), auth: None }
}

#[test]
fn the_lines_as_they_travel() {
    assert_eq!(
        hail("node 1=é%").encode().unwrap(),
        "DSYNC/1 plane=client id=node%201%3Dé%25 ver=0.1.0\r\n"
    );
    let greeting = Greeting {
        id: "n\r\n1".into(),
        role: Role::Lock,
        cluster: Some(ClusterId(0xabc)),
        proto: (1, 1),
        version: "0.1.0".into(),
    };
    let line = greeting.encode().unwrap();
    assert_eq!(
        line,
        "DSYNC/1 OK id=n%0D%0A1 role=lock cluster=0000000000000abc proto=1..1 ver=0.1.0\r\n"
    );
    assert_eq!(parse_reply(line.as_bytes()).unwrap().unwrap(), greeting);
    let refusal = Refusal::new("busy", "4096 connections\nare open");
    assert_eq!(refusal.encode(), "DSYNC/1 ERR busy 4096 connections are open\r\n");
    let long = Refusal::new("busy", "é".repeat(600)).encode();
    assert!(long.len() <= LINE_MAX && long.ends_with("\r\n"));
    let read = parse_reply(b"DSYNC/1 ERR busy come back later\n").unwrap().unwrap_err();
    assert_eq!((read.code.as_str(), read.text.as_str()), ("busy", "come back later"));
}

#[test]
fn what_is_refused() {
    let cases: [(&[u8], &str); 10] = [
        (b"GET / HTTP/1.1\r\n", "it does not begin with DSYNC/"),
        (b"DSYNC/2 plane=client id=a ver=1\r\n", "it speaks version 2 of the greeting"),
        (b"DSYNC/x plane=client id=a ver=1", "its version is no number"),
        (b"DSYNC/1 plane=clint id=a ver=1", "there is no plane \"clint\""),
        (b"DSYNC/1 plane=client ver=1", "it names no id"),
        (b"DSYNC/1 plane=client id=a id=b ver=1", "it names id twice"),
        (b"DSYNC/1 plane=client id=a%2 ver=1", "a % without two hexadecimal digits"),
        (b"DSYNC/1 plane=client id=a%FF ver=1", "an escaped value is not UTF-8"),
        (b"DSYNC/1 plane=client id=\xff ver=1", "it is not UTF-8"),
        (b"DSYNC/1 plane=client id ver=1", "\"id\" is no key=value"),
    ];
    for (line, why) in cases {
        let error = Hail::parse(line).unwrap_err().to_string();
        assert!(error.starts_with(why), "{error:?} should be {why:?}");
    }
    assert!(hail(&"x".repeat(600)).encode().is_err());
    assert!(parse_reply(b"DSYNC/1 WHAT").is_err());
    assert!(parse_reply(b"DSYNC/1 OK id=a role=king cluster=- proto=1..1 ver=1").is_err());
}

#[test]
fn a_later_version_may_add_fields() {
    let line = b"DSYNC/1  plane=bulk id=a ver=1 zone=eu\r\n";
    assert_eq!(
        Hail::parse(line).unwrap(),
        Hail { plane: Plane::Bulk, version: "1".into(), ..hail("a") }
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        drop(Hail::parse(&bytes));
        drop(parse_reply(&bytes));
        drop(Hail::parse(&[b"DSYNC/1 ".as_slice(), &bytes].concat()));
        drop(parse_reply(&[b"DSYNC/1 OK ".as_slice(), &bytes].concat()));
    }

    #[test]
    fn every_name_survives(id in "\\PC{0,60}|[ %=\\r\\n\\x00]{0,60}", auth in proptest::option::of("\\PC{0,20}")) {
        let sent = Hail { auth, ..hail(&id) };
        let line = sent.encode();
        if let Ok(line) = line {
            prop_assert!(line.len() <= LINE_MAX);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(Hail::parse(line.as_bytes()).unwrap(), sent);
        }
    }
}
