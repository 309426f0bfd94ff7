//! Why elections began and how they ended, in words.

use std::collections::{BTreeMap, VecDeque};

use dsync::peer::RaftReply;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// Elections remembered for the rate per minute.
const REMEMBERED: usize = 256;

/// The elections that this node took part in.
#[derive(Debug, Default)]
pub struct Elections {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    begun: VecDeque<Instant>,
    round: Option<Round>,
    last: Option<String>,
}

/// One round of asking for votes.
#[derive(Debug)]
struct Round {
    term: u64,
    pre: bool,
    why: String,
    answers: BTreeMap<String, String>,
}

impl Round {
    fn text(&self) -> String {
        let answers: Vec<String> =
            self.answers.iter().map(|(node, said)| format!("{node} {said}")).collect();
        let kind = if self.pre { "pre-vote" } else { "election" };
        let answers =
            if answers.is_empty() { "no answer yet".to_owned() } else { answers.join(", ") };
        format!("{kind} for term {} because {}: {answers}", self.term, self.why)
    }
}

impl Elections {
    /// This node asks for votes; `why` is computed once per round.
    pub(super) fn began(&self, term: u64, pre: bool, why: impl FnOnce() -> String) {
        let mut inner = self.inner.lock();
        if inner.round.as_ref().is_some_and(|r| r.term == term && r.pre == pre) {
            return;
        }
        if let Some(round) = inner.round.take()
            && round.pre == pre
        {
            tracing::warn!(term = round.term, "election failed: {}", round.text());
            inner.last = Some(format!("{} (failed)", round.text()));
        }
        let round = Round { term, pre, why: why(), answers: BTreeMap::new() };
        tracing::info!(term, pre_vote = pre, reason = %round.why, "election begins");
        inner.round = Some(round);
        if !pre {
            if inner.begun.len() == REMEMBERED {
                inner.begun.pop_front();
            }
            inner.begun.push_back(Instant::now());
        }
    }

    /// A peer answered, or did not.
    pub(super) fn answered(
        &self,
        term: u64,
        pre: bool,
        node: &str,
        answer: Result<&RaftReply, String>,
    ) {
        let said = match answer {
            Ok(RaftReply::Voted { granted: true, .. }) => "granted".to_owned(),
            Ok(RaftReply::Voted { vote, .. }) => {
                format!("refused (it is in term {})", vote.term)
            }
            Ok(_) => "gave an answer to another question".to_owned(),
            Err(why) => format!("did not answer ({why})"),
        };
        let mut inner = self.inner.lock();
        if let Some(round) = inner.round.as_mut()
            && round.term == term
            && round.pre == pre
        {
            round.answers.insert(node.to_owned(), said);
        }
    }

    /// Someone leads: the round is over.
    pub(super) fn ended(&self, leader: &str, term: u64) {
        let mut inner = self.inner.lock();
        let text = match inner.round.take() {
            Some(round) => format!("{}; {leader} leads term {term}", round.text()),
            None => format!("{leader} leads term {term}"),
        };
        tracing::info!(term, leader, "leader elected: {text}");
        inner.last = Some(text);
    }

    /// Elections that this node began in the last minute.
    pub fn last_minute(&self) -> u32 {
        let inner = self.inner.lock();
        let recent = inner.begun.iter().filter(|at| at.elapsed() < Duration::from_secs(60)).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    /// The last election in words, the running one first.
    pub fn last(&self) -> Option<String> {
        let inner = self.inner.lock();
        inner.round.as_ref().map(Round::text).or_else(|| inner.last.clone())
    }
}
