use crate::config::dotenv::{FILE_MAX, LINE_MAX, parsed, prepare};

/// The lines handed to the parser, and the problems.
fn lines(bytes: &[u8]) -> (Vec<(usize, String)>, Vec<String>) {
    let (lines, problems) = prepare("x.env", bytes);
    (
        lines.into_iter().map(|line| (line.number, line.text)).collect(),
        problems.iter().map(ToString::to_string).collect(),
    )
}

#[test]
fn a_value_reaches_the_parser_escaped_and_in_double_quotes() {
    for (text, meant) in [
        ("K=v", r#"K="v""#),
        ("  K = v  ", r#"K="v""#),
        ("K=", r#"K="""#),
        ("K=v\r", r#"K="v""#),
        ("export K=v", r#"K="v""#),
        ("export\tK=v", r#"K="v""#),
        ("export=v", r#"export="v""#),
        ("K=a:1, b:2", r#"K="a:1, b:2""#),
        ("K=v # comment", r#"K="v""#),
        ("K=v # it's a \"comment\"", r#"K="v""#),
        ("K= # comment", r#"K="""#),
        ("K=v#no comment", r#"K="v#no comment""#),
        ("K=pa$word", r#"K="pa\$word""#),
        ("K=$HOME", r#"K="\$HOME""#),
        ("K=${HOME}", r#"K="\${HOME}""#),
        ("K='$a \\ \"b\" #c'", r#"K="\$a \\ \"b\" #c""#),
        ("K='v\\'", r#"K="v\\""#),
        ("K=\"$a\"", r#"K="\$a""#),
        ("K=\"\\$a\"", r#"K="\$a""#),
        ("K=\"\\\\$a\"", r#"K="\\\$a""#),
        ("K=\"a \\\" b\" # c", r#"K="a \" b""#),
        ("K='v' # 'c'", r#"K="v""#),
        ("K=a=b", r#"K="a=b""#),
        ("K=é", r#"K="é""#),
    ] {
        assert_eq!(lines(text.as_bytes()), (vec![(1, meant.to_owned())], vec![]), "{text}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (text, why) in [
        ("NODE_ID", "there is no = right after \"NODE_ID\""),
        ("NODE_ID: a", "there is no = right after \"NODE_ID\""),
        ("NODE ID=a", "is not KEY=value"),
        ("=v", "is not KEY=value"),
        ("1K=v", "is not KEY=value"),
        ("K=#v", "the value of K begins with #"),
        ("K=it's", "has a quote inside"),
        ("K=a\"b\"", "has a quote inside"),
        ("K='v", "is never closed"),
        ("K=\"v", "is never closed"),
        ("K=\"v\\\"", "is never closed"),
        ("K='a'b", "something follows the closing quote"),
        ("K=\"a\"#b", "something follows the closing quote"),
        ("K=a\\b", "has a bare backslash"),
        ("K=a\u{a0}b", "contains the space"),
        ("K=a\0b", "control character '\\0'"),
        ("K=a\u{1b}[31m", "control character '\\u{1b}'"),
        ("K=a\rL=b", "control character '\\r'"),
    ] {
        let (good, bad) = lines(text.as_bytes());
        assert_eq!(good, [], "{text}");
        assert_eq!(bad.len(), 1, "{text}: {bad:?}");
        assert!(bad[0].starts_with("x.env:1: ") && bad[0].contains(why), "{text}: {bad:?}");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_not_shown() {
    for text in ["hunter2-is-the-password", "REDIS_PASSWORD hunter2", "REDIS_PASSWORD: hunter2"] {
        let (_, bad) = lines(text.as_bytes());
        assert!(!bad[0].contains("hunter2"), "{bad:?}");
    }
    assert!(parsed("x.env", 3, None).unwrap_err().to_string().starts_with("x.env:3: "));
}

#[test]
fn every_line_is_looked_at() {
    let text = b"\xef\xbb\xbfA=1\r\n\r\n  # no\r\nB\xff=2\r\nC=3\nD='\nE=5";
    let (good, bad) = lines(text);
    let numbers: Vec<usize> = good.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 5, 7]);
    assert_eq!(
        bad,
        [
            "x.env:4: byte 2 is not UTF-8",
            "x.env:6: the quote before the value of D is never closed"
        ]
    );
}

#[test]
fn a_huge_line_is_refused_with_its_number() {
    let mut text = b"A=1\nB=".to_vec();
    text.extend(vec![b'x'; 1 << 20]);
    text.extend(b"\nC=3\n");
    let (good, bad) = lines(&text);
    assert_eq!(good.len(), 2);
    assert_eq!(bad, ["x.env:2: the line has 1048578 bytes, 32768 are the most"]);
    let fits = format!("A={}", "x".repeat(LINE_MAX - 2));
    assert_eq!(lines(fits.as_bytes()).1, Vec::<String>::new());
    assert_eq!(lines(format!("{fits}x").as_bytes()).1.len(), 1);
}

#[test]
fn what_is_no_env_file_has_few_problems() {
    let (good, bad) = lines(&b"\x7fELF\n".repeat(100_000));
    assert_eq!((good.len(), bad.len()), (0, 21));
    let (good, bad) = lines(&b"A=1\n".repeat(100_000));
    assert_eq!((good.len(), bad.len()), (1_024, 1));
    let (good, bad) =
        lines("K=v".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice());
    assert_eq!(good.len(), 0, "{bad:?}");
    assert_eq!(lines(b"\xff\xfeK\0=\0v\0").1, ["x.env:1: the file is UTF-16"]);
    assert_eq!(lines(&vec![b'\n'; FILE_MAX + 1]).1.len(), 1);
}
