use crate::config::address::parse_list;
use crate::config::{ADDRESSES_MAX, Address};

#[test]
fn what_people_write_for_an_address() {
    for (text, meant) in [
        ("localhost:8001", "localhost:8001"),
        ("  a:1\t", "a:1"),
        ("http://node_lock_2:8002", "node_lock_2:8002"),
        ("HTTP://Node-2.example.COM:8002/", "node-2.example.com:8002"),
        ("a:1/", "a:1"),
        ("node.:1", "node:1"),
        ("127.0.0.1:65535", "127.0.0.1:65535"),
        ("[::1]:8001", "[::1]:8001"),
        ("http://[2001:DB8:0::1]:8001/", "[2001:db8::1]:8001"),
        ("[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.1]:1"),
        ("4f2a9c:1", "4f2a9c:1"),
        ("a:0080", "a:80"),
    ] {
        assert_eq!(Address::parse(text).map(|a| a.to_string()), Ok(meant.to_owned()), "{text}");
    }
}

#[test]
fn what_is_no_address_is_named() {
    for (text, why) in [
        ("a", "\"a\" has no port"),
        ("", "\"\" has no port"),
        ("127.0.0.1", "\"127.0.0.1\" has no port"),
        ("a:", "the port is missing"),
        ("a:0", "\"0\" is not a port"),
        ("a:65536", "\"65536\" is not a port"),
        ("a:99999999999999999999", "is not a port"),
        ("a:+80", "\"+80\" is not a port"),
        ("a:-1", "is not a port"),
        ("a:80b", "is not a port"),
        (":8001", "is not a host name"),
        ("::1", "without brackets"),
        ("::1:8001", "without brackets"),
        ("fe80::1:2:3", "without brackets"),
        ("1:2:8001", "has no port"),
        ("[::1]", "has no port"),
        ("[::1:8001", "has no port"),
        ("[::g]:1", "is not a host name"),
        ("[fe80::1%eth0]:1", "is not a host name"),
        ("300.1.1.1:1", "is not an IPv4 address"),
        ("1.2.3:1", "is not an IPv4 address"),
        ("a b:1", "it contains ' '"),
        ("a:1 b:2", "has no port"),
        ("user@a:1", "it contains '@'"),
        ("https://a:1", "which dsync does not speak"),
        ("redis://a:1", "which dsync does not speak"),
        ("a:1/raft", "has a path"),
        ("a?b:1", "it contains '?'"),
        ("${HOST}:1", "nothing is substituted"),
        ("-a:1", "is not a host name"),
        ("a-.b:1", "is not a host name"),
        ("a..b:1", "is not a host name"),
        ("bücher:1", "it contains 'ü'"),
    ] {
        let found = Address::parse(text).unwrap_err();
        assert!(found.contains(why), "{text}: {found}");
    }
    let long = format!("{}:1", "a.".repeat(1 << 19));
    assert!(Address::parse(&long).unwrap_err().len() < 400);
}

fn list(text: &str) -> Result<Vec<String>, Vec<String>> {
    parse_list(text).map(|list| list.iter().map(Address::to_string).collect())
}

#[test]
fn what_people_write_for_a_list() {
    for text in ["a:1,b:2", "a:1, b:2", " a:1 ,b:2 , ", "http://a:1/,http://b:2/", ",a:1,,b:2,"] {
        assert_eq!(list(text), Ok(vec!["a:1".to_owned(), "b:2".to_owned()]), "{text}");
    }
    assert_eq!(list(""), Ok(Vec::new()));
    assert_eq!(list(" , "), Ok(Vec::new()));
}

#[test]
fn every_bad_entry_of_a_list_is_named_at_once() {
    let found = list("a, b:0, c:65536, d:1, D:1, http://d:1, localhost:2, [::1]:2, 0.0.0.0:3");
    assert_eq!(
        found.unwrap_err(),
        [
            "\"a\" has no port",
            "\"b:0\": \"0\" is not a port, a number from 1 to 65535",
            "\"c:65536\": \"65536\" is not a port, a number from 1 to 65535",
            "\"D:1\" is named twice",
            "\"http://d:1\" is named twice",
            "\"[::1]:2\" is named twice",
            "\"0.0.0.0:3\" is an address to listen on, not one to dial",
        ]
    );
}

#[test]
fn a_list_has_a_limit() {
    let entries =
        |count: usize| (1..=count).map(|port| format!("a:{port}")).collect::<Vec<_>>().join(",");
    assert_eq!(list(&entries(ADDRESSES_MAX)).map(|l| l.len()), Ok(64));
    let found = list(&entries(200)).unwrap_err();
    assert_eq!(found, ["names 200 addresses, 64 are the most there may be"]);
}
