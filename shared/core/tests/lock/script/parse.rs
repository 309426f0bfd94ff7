//! The lines of a transcript:
//!
//! `+500` time passes · `clock 900` the leader's clock says · `term 2` · `settings lock_delay=0 …` ·
//! `tick` · `alive 1 2` · `restart` (from a snapshot) · `backup` (restored) · reads: `get L`,
//! `list [prefix=] [after=] [limit=] [waiting]`, `validate L T`, `lookup KEY`, `graph`, `sessions`,
//! `counts`, `next` · and requests, several in one entry when parted by ` | `:
//! `KEY open OWNER [ttl=] [ephemeral]`, `KEY close`,
//! `KEY acquire a,b:shared,c:2/3 [owner=] [wait=] [policy=] [age=] [hold=]`, `KEY cancel KEY`,
//! `KEY release L [token=] [owner=] [all]`, `KEY renew L token= [ttl=]`,
//! `KEY convert L token= to= [wait=]`, `KEY force L token= reason=`.
//! A key is `dN` (detached) or `session.seq[/first_outstanding]`.

use crate::api::lock::{
    Batch, Command, Mode, Policy, Request, RequestKey, SessionId, Settings, Token, Want,
};
use crate::api::name::Name;

/// What a line asks for.
#[derive(Debug)]
pub(crate) enum Line {
    Time(u64),
    Clock(u64),
    Term(u64),
    Settings(Settings),
    Entry(Batch),
    Read(Read),
    Restart,
    Backup,
}

/// A read.
#[derive(Debug)]
pub(crate) enum Read {
    Get(String),
    List { prefix: String, waiting: bool, after: Option<Name>, limit: usize },
    Validate(String, Token),
    Lookup(RequestKey),
    Graph,
    Sessions,
    Counts,
    Next,
}

/// The words of a line: what stands by itself, and `name=value`.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn at(&self, place: usize) -> &'a str {
        self.0.get(place).copied().unwrap_or_else(|| panic!("{:?} is too short", self.0))
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.value(name).map_or(default, |text| text.parse().unwrap())
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    fn token(&self) -> Token {
        Token(self.value("token").unwrap().parse().unwrap())
    }
}

/// Reads one line.
pub(crate) fn line(text: &str, settings: Settings) -> Line {
    let words = Words(text.split_whitespace().collect());
    match words.at(0) {
        "clock" => Line::Clock(words.at(1).parse().unwrap()),
        "term" => Line::Term(words.at(1).parse().unwrap()),
        "settings" => Line::Settings(Settings {
            new_term_grace_ms: words.number("new_term_grace", settings.new_term_grace_ms),
            lock_delay_ms: words.number("lock_delay", settings.lock_delay_ms),
            wound_grace_ms: words.number("wound_grace", settings.wound_grace_ms),
            min_ttl_ms: words.number("min_ttl", settings.min_ttl_ms),
        }),
        "restart" => Line::Restart,
        "backup" => Line::Backup,
        "tick" => Line::Entry(Batch { settings, ..Batch::default() }),
        "alive" => {
            let ids = words.0.iter().skip(1).map(|w| SessionId(w.parse().unwrap()));
            Line::Entry(Batch { settings, keep_alives: ids.collect(), requests: Vec::new() })
        }
        "get" => Line::Read(Read::Get(words.at(1).to_owned())),
        "list" => Line::Read(Read::List {
            prefix: words.value("prefix").unwrap_or_default().to_owned(),
            waiting: words.has("waiting"),
            after: words.value("after").map(name),
            limit: usize::try_from(words.number("limit", 100)).unwrap(),
        }),
        "validate" => {
            Line::Read(Read::Validate(words.at(1).to_owned(), Token(words.at(2).parse().unwrap())))
        }
        "lookup" => Line::Read(Read::Lookup(key(words.at(1)).0)),
        "graph" => Line::Read(Read::Graph),
        "sessions" => Line::Read(Read::Sessions),
        "counts" => Line::Read(Read::Counts),
        "next" => Line::Read(Read::Next),
        first => {
            if let Some(pause) = first.strip_prefix('+') {
                return Line::Time(pause.parse().unwrap());
            }
            let requests = text.split(" | ").map(request).collect();
            Line::Entry(Batch { settings, keep_alives: Vec::new(), requests })
        }
    }
}

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn key(text: &str) -> (RequestKey, u64) {
    if let Some(number) = text.strip_prefix('d') {
        return (RequestKey::Detached(number.parse().unwrap()), 0);
    }
    let (session, rest) = text.split_once('.').unwrap_or_else(|| panic!("{text}: not a key"));
    let (seq, first) = rest.split_once('/').unwrap_or((rest, "0"));
    let key = RequestKey::Session {
        session: SessionId(session.parse().unwrap()),
        seq: seq.parse().unwrap(),
    };
    (key, first.parse().unwrap())
}

fn mode(text: &str) -> Mode {
    match text {
        "exclusive" => Mode::Exclusive,
        "shared" => Mode::Shared,
        permits => {
            let (take, of) = permits.split_once('/').unwrap();
            Mode::Permits { take: take.parse().unwrap(), of: of.parse().unwrap() }
        }
    }
}

fn want(text: &str) -> Want {
    let (lock, how) = text.split_once(':').unwrap_or((text, "exclusive"));
    Want { lock: name(lock), mode: mode(how) }
}

fn request(text: &str) -> Request {
    let words = Words(text.split_whitespace().collect());
    let (key, first_outstanding) = key(words.at(0));
    Request { key, first_outstanding, command: command(&words) }
}

fn command(words: &Words<'_>) -> Command {
    match words.at(1) {
        "open" => Command::OpenSession {
            ttl_ms: words.number("ttl", 15_000),
            owner: name(words.at(2)),
            meta: words.value("meta").unwrap_or_default().to_owned(),
            ephemeral: words.has("ephemeral"),
        },
        "close" => Command::CloseSession,
        "acquire" => Command::Acquire {
            wants: words.at(2).split(',').filter(|w| !w.is_empty()).map(want).collect(),
            owner: name(words.value("owner").unwrap_or("me")),
            wait_ms: words.number("wait", 0),
            policy: match words.value("policy") {
                Some("wound-wait") => Policy::WoundWait,
                Some("wait-die") => Policy::WaitDie,
                _ => Policy::Detect,
            },
            age: words.number("age", 0),
            max_hold_ms: words.number("hold", 0),
        },
        "cancel" => Command::Cancel { target: key(words.at(2)).0 },
        "release" => Command::Release {
            lock: name(words.at(2)),
            token: words.value("token").map(|t| Token(t.parse().unwrap())),
            owner: words.value("owner").map(name),
            all: words.has("all"),
        },
        "renew" => Command::Renew {
            lock: name(words.at(2)),
            token: words.token(),
            ttl_ms: words.value("ttl").map(|t| t.parse().unwrap()),
        },
        "convert" => Command::Convert {
            lock: name(words.at(2)),
            token: words.token(),
            to: mode(words.value("to").unwrap()),
            wait_ms: words.number("wait", 0),
        },
        "force" => Command::ForceRelease {
            lock: name(words.at(2)),
            token: words.token(),
            actor: name("root@ops"),
            reason: words.value("reason").unwrap_or_default().to_owned(),
        },
        other => panic!("{other}: no such request"),
    }
}
