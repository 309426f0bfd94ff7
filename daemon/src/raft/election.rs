//! Why elections began and how they ended, in words.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dsync::peer::RaftReply;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::telemetry::{ElectionReason, Metrics};

/// Elections remembered for the rate per minute.
const REMEMBERED: usize = 256;
/// A round that finds no majority is told again after so long.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// The elections that this node took part in.
#[derive(Debug)]
pub struct Elections {
    inner: Mutex<Inner>,
    node: String,
    metrics: Arc<Metrics>,
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
    said: Instant,
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
    /// None so far; `metrics` count them.
    pub(super) fn new(node: &str, metrics: Arc<Metrics>) -> Self {
        Self { inner: Mutex::default(), node: node.to_owned(), metrics }
    }

    /// This node asks for votes; `why` is computed once per round.
    pub(super) fn began(
        &self,
        term: u64,
        pre: bool,
        why: impl FnOnce() -> (ElectionReason, String),
    ) {
        let mut inner = self.inner.lock();
        if let Some(round) = inner.round.as_mut().filter(|r| r.term == term && r.pre == pre) {
            self.still_asking(round);
            return;
        }
        let (mut reason, why) = why();
        if let Some(round) = inner.round.take_if(|round| round.pre == pre) {
            reason = ElectionReason::NoWinner;
            inner.last = Some(self.failed(&round));
        }
        tracing::info!(node = self.node, term, pre_vote = pre, reason = %why, "election begins");
        let (answers, said) = (BTreeMap::new(), Instant::now());
        inner.round = Some(Round { term, pre, why, answers, said });
        if !pre {
            self.metrics.election(reason);
            if inner.begun.len() == REMEMBERED {
                inner.begun.pop_front();
            }
            inner.begun.push_back(Instant::now());
        }
    }

    /// Pre-votes are repeated in one term for as long as no majority would follow.
    fn still_asking(&self, round: &mut Round) {
        if round.said.elapsed() > SAY_AGAIN && !round.answers.is_empty() {
            round.said = Instant::now();
            let (term, text) = (round.term, round.text());
            tracing::warn!(node = self.node, term, "no majority would follow: {text}");
        }
    }

    fn failed(&self, round: &Round) -> String {
        let text = round.text();
        tracing::warn!(node = self.node, term = round.term, "election failed: {text}");
        format!("{text} (failed)")
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
        tracing::info!(node = self.node, term, leader, "leader elected: {text}");
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
