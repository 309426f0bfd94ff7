//! One key at its home: who has it, and the one request that is being served.
//!
//! Requests of one key are served one after the other. Before a right is given, every right that
//! excludes it is taken back: the holder has acknowledged, or its session has run out. What a
//! holder that ran out may still have sent to the memory is fenced off before the key is read
//! again; a version alone would not do, since the late write passes it.

use std::collections::{BTreeMap, VecDeque};

use super::item::{Gid, Item, Right, Session, Take};

/// A request, by the number that the home gave it.
pub type RequestId = u64;

/// What is asked of a home.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Want<O> {
    /// A line.
    Line(Right),
    /// That the home itself carries a change out.
    Execute(O),
    /// That nobody has the key, so that its entry can be forgotten.
    Clear,
}

/// Who asks for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request<N, O> {
    /// Its number.
    pub id: RequestId,
    /// The session that a line is for; a line is given to no other.
    pub by: Option<(N, Session)>,
    /// What.
    pub want: Want<O>,
}

/// Numbers that a home gives out, for all its keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Numbers {
    epoch: u64,
    grants: u64,
    revocations: u64,
}

impl Numbers {
    /// Of a home in that epoch.
    pub fn new(epoch: u64) -> Self {
        Self { epoch, grants: 0, revocations: 0 }
    }

    fn grant(&mut self) -> Gid {
        self.grants += 1;
        self.so_far()
    }

    fn so_far(&self) -> Gid {
        Gid { epoch: self.epoch, seq: self.grants }
    }

    fn revocation(&mut self) -> u64 {
        self.revocations += 1;
        self.revocations
    }
}

/// What a home wants done for a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HomeEffect<N, V, O> {
    /// Take back what that session of that node has.
    Revoke {
        /// The node.
        from: N,
        /// Its session.
        session: Session,
        /// Number for the acknowledgement.
        id: u64,
        /// All grants so far.
        upto: Gid,
        /// What is left.
        take: Take,
    },
    /// Have the memory refuse writes of that session, and say [`Entry::fenced`].
    Fence {
        /// The node.
        node: N,
        /// The session that is over.
        session: Session,
    },
    /// Read the key from the memory, for [`Entry::read`].
    Read {
        /// The request that is served.
        request: RequestId,
    },
    /// Carry a change out in the memory, for [`Entry::executed`].
    Execute {
        /// The request that is served.
        request: RequestId,
        /// The change.
        change: O,
    },
    /// The answer to a request for a line.
    Grant {
        /// Which one.
        request: RequestId,
        /// What is given.
        right: Right,
        /// What the key holds.
        item: Item<V>,
        /// Number of the grant.
        gid: Gid,
    },
    /// The session that asked is over: the request is answered with nothing.
    Refuse {
        /// Which one.
        request: RequestId,
    },
    /// Nobody has the key.
    Cleared {
        /// The request that asked for it.
        request: RequestId,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Holder {
    session: Session,
    gid: Gid,
}

/// Who has a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holders<N> {
    Shared(BTreeMap<N, Holder>),
    Exclusive(N, Holder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    /// Rights are being taken back.
    Revoking,
    /// So many fences are not confirmed yet.
    Fencing(usize),
    /// The memory is asked.
    Memory,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Serving<N, O> {
    request: Request<N, O>,
    stage: Stage,
    /// Revocations that are not acknowledged.
    waiting: BTreeMap<N, (u64, Session)>,
}

/// A key at its home. `Default`: nobody has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry<N, O> {
    holders: Holders<N>,
    /// Version and presence of what the holders were given.
    given: Option<(u64, bool)>,
    /// Sessions that ended while they could write.
    unfenced: Vec<(N, Session)>,
    serving: Option<Serving<N, O>>,
    queue: VecDeque<Request<N, O>>,
}

impl<N: Ord, O> Default for Entry<N, O> {
    fn default() -> Self {
        Self {
            holders: Holders::Shared(BTreeMap::new()),
            given: None,
            unfenced: Vec::new(),
            serving: None,
            queue: VecDeque::new(),
        }
    }
}

type Out<N, V, O> = Vec<HomeEffect<N, V, O>>;

impl<N: Ord + Clone, O: Clone> Entry<N, O> {
    /// A request came. Of a line for a session that is over by then nothing comes but a refusal.
    pub fn request<V>(
        &mut self,
        numbers: &mut Numbers,
        live: &impl Fn(&N) -> Option<Session>,
        request: Request<N, O>,
    ) -> Out<N, V, O> {
        let mut out = Vec::new();
        self.queue.push_back(request);
        self.next(numbers, live, &mut out);
        out
    }

    /// A holder acknowledged a revocation. Late and repeated acknowledgements do nothing.
    pub fn acknowledged<V>(&mut self, node: &N, id: u64, kept: bool) -> Out<N, V, O> {
        let mut out = Vec::new();
        let Some(serving) = &mut self.serving else { return out };
        if serving.waiting.get(node).is_none_or(|(expected, _)| *expected != id) {
            return out;
        }
        serving.waiting.remove(node);
        self.taken(node, kept);
        self.advance(&mut out);
        out
    }

    /// A session ran out, or was replaced by another of the same node.
    pub fn session_over<V>(&mut self, node: &N, session: Session) -> Out<N, V, O> {
        let mut out = Vec::new();
        let held = match &self.holders {
            Holders::Shared(sharers) => sharers.get(node),
            Holders::Exclusive(owner, holder) => (owner == node).then_some(holder),
        };
        if held.is_some_and(|holder| holder.session == session) {
            if matches!(self.holders, Holders::Exclusive(..)) && !mutant!(NoFence) {
                self.unfenced.push((node.clone(), session));
            }
            self.taken(node, false);
        }
        if let Some(serving) = &mut self.serving
            && serving.waiting.get(node).is_some_and(|(_, of)| *of == session)
        {
            serving.waiting.remove(node);
            self.advance(&mut out);
        }
        out
    }

    /// A node says that it gave up the line of that grant by itself.
    pub fn evicted(&mut self, node: &N, gid: Gid) {
        let same = match &self.holders {
            Holders::Shared(sharers) => sharers.get(node).is_some_and(|holder| holder.gid == gid),
            Holders::Exclusive(owner, holder) => owner == node && holder.gid == gid,
        };
        if same && self.serving.is_none() {
            self.taken(node, false);
        }
    }

    /// The memory refuses what that session writes from now on.
    pub fn fenced<V>(&mut self, node: &N, session: Session) -> Out<N, V, O> {
        let mut out = Vec::new();
        let before = self.unfenced.len();
        self.unfenced.retain(|one| (&one.0, one.1) != (node, session));
        if before > self.unfenced.len()
            && let Some(serving) = &mut self.serving
            && let Stage::Fencing(left) = serving.stage
        {
            serving.stage = Stage::Fencing(left - left.min(1));
            if left <= 1 {
                serving.stage = Stage::Revoking;
                self.advance(&mut out);
            }
        }
        out
    }

    /// The memory told what the key holds.
    pub fn read<V: Clone>(
        &mut self,
        numbers: &mut Numbers,
        live: &impl Fn(&N) -> Option<Session>,
        item: &Item<V>,
    ) -> Out<N, V, O> {
        let mut out = Vec::new();
        let Some(serving) = self.serving.take_if(|one| one.stage == Stage::Memory) else {
            return out;
        };
        // An absent key has no version of its own.
        let told = (if item.value.is_some() { item.version } else { 0 }, item.value.is_some());
        let request = serving.request.id;
        match (&serving.request.by, &serving.request.want) {
            (Some((node, session)), Want::Line(right)) if live(node) == Some(*session) => {
                let other = self.given != Some(told) && !mutant!(OldCopiesStay);
                if other && self.others(node).next().is_some() {
                    // The value expired, or was changed by somebody else: what the others have is
                    // old, and goes first.
                    self.serving = Some(serving);
                    self.revoke_all(numbers, Take::Invalidate, &mut out);
                    return out;
                }
                let gid = numbers.grant();
                let right = self.give(node.clone(), *session, gid, (*right, told.1));
                self.given = Some(told);
                out.push(HomeEffect::Grant { request, right, item: item.clone(), gid });
            }
            _ => out.push(HomeEffect::Refuse { request }),
        }
        self.next(numbers, live, &mut out);
        out
    }

    /// The memory did not tell: the request is answered with nothing.
    pub fn unread<V>(
        &mut self,
        numbers: &mut Numbers,
        live: &impl Fn(&N) -> Option<Session>,
    ) -> Out<N, V, O> {
        let mut out = Vec::new();
        if let Some(serving) = self.serving.take_if(|one| one.stage == Stage::Memory) {
            out.push(HomeEffect::Refuse { request: serving.request.id });
            self.next(numbers, live, &mut out);
        }
        out
    }

    /// The memory carried a change out for the home, or refused to.
    pub fn executed<V>(
        &mut self,
        numbers: &mut Numbers,
        live: &impl Fn(&N) -> Option<Session>,
    ) -> Out<N, V, O> {
        let mut out = Vec::new();
        if self.serving.take_if(|one| one.stage == Stage::Memory).is_some() {
            self.given = None;
            self.next(numbers, live, &mut out);
        }
        out
    }

    /// Who has the key, with what right.
    pub fn holders(&self) -> impl Iterator<Item = (&N, Right)> {
        let (sharers, owner) = match &self.holders {
            Holders::Shared(sharers) => (Some(sharers), None),
            Holders::Exclusive(owner, _) => (None, Some((owner, Right::Exclusive))),
        };
        let sharers = sharers.into_iter().flatten().map(|(node, _)| (node, Right::Shared));
        sharers.chain(owner)
    }

    /// The request whose change is on its way to the memory.
    pub fn executing(&self) -> Option<RequestId> {
        let serving = self.serving.as_ref().filter(|one| one.stage == Stage::Memory)?;
        matches!(serving.request.want, Want::Execute(_)).then_some(serving.request.id)
    }

    /// Requests that wait behind the one that is served; `None`: none is served.
    pub fn waiting(&self) -> Option<usize> {
        self.serving.as_ref().map(|_| self.queue.len())
    }

    /// True if the entry need not be kept.
    pub fn is_empty(&self) -> bool {
        let idle = self.serving.is_none() && self.queue.is_empty() && self.unfenced.is_empty();
        idle && self.holders().next().is_none()
    }

    fn others<'a>(&'a self, node: &'a N) -> impl Iterator<Item = &'a N> {
        self.holders().map(|(holder, _)| holder).filter(move |holder| *holder != node)
    }

    fn taken(&mut self, node: &N, kept: bool) {
        match &mut self.holders {
            Holders::Shared(sharers) => {
                if !kept {
                    sharers.remove(node);
                }
            }
            Holders::Exclusive(owner, holder) => {
                if owner == node {
                    // It may have given the key a value that is over by now: what is absent then
                    // is not what it has.
                    self.given = self.given.filter(|(_, present)| *present || mutant!(AbsentAgain));
                    let left = kept.then(|| (node.clone(), *holder));
                    self.holders = Holders::Shared(left.into_iter().collect());
                }
            }
        }
    }

    /// Who is alone may write a key that is there, unasked. One that is absent is shared: an owner
    /// of nothing would be the only one to know whether it still is.
    fn give(
        &mut self,
        node: N,
        session: Session,
        gid: Gid,
        (wanted, present): (Right, bool),
    ) -> Right {
        let holder = Holder { session, gid };
        // A request that was sent before it had the key takes nothing away from it.
        let owns = matches!(&self.holders, Holders::Exclusive(owner, _) if *owner == node);
        let may = present || owns || mutant!(AbsentAgain);
        let alone = (may && self.others(&node).next().is_none()) || mutant!(ExclusiveWhileShared);
        if wanted == Right::Exclusive || alone {
            self.holders = Holders::Exclusive(node, holder);
            return Right::Exclusive;
        }
        match &mut self.holders {
            Holders::Shared(sharers) => drop(sharers.insert(node, holder)),
            // Not reached: an owner beside it was made a sharer before.
            Holders::Exclusive(..) => {
                self.holders = Holders::Shared([(node, holder)].into_iter().collect());
            }
        }
        Right::Shared
    }

    /// Begins the next request, if none is served.
    fn next<V>(
        &mut self,
        numbers: &mut Numbers,
        live: &impl Fn(&N) -> Option<Session>,
        out: &mut Out<N, V, O>,
    ) {
        while self.serving.is_none() {
            let Some(request) = self.queue.pop_front() else { return };
            let gone = |(node, session): &(N, Session)| live(node) != Some(*session);
            if matches!(request.want, Want::Line(_)) && request.by.as_ref().is_none_or(gone) {
                out.push(HomeEffect::Refuse { request: request.id });
                continue;
            }
            let take = match request.want {
                Want::Line(Right::Shared) => Take::Downgrade,
                Want::Line(Right::Exclusive) | Want::Execute(_) | Want::Clear => Take::Invalidate,
            };
            let stage = Stage::Revoking;
            self.serving = Some(Serving { request, stage, waiting: BTreeMap::new() });
            self.revoke_all(numbers, take, out);
        }
    }

    /// Takes back what excludes the request being served, then goes on with it.
    fn revoke_all<V>(&mut self, numbers: &mut Numbers, take: Take, out: &mut Out<N, V, O>) {
        let Some(serving) = &mut self.serving else { return };
        serving.stage = Stage::Revoking;
        // Who asks for a line has none, or is about to get a better one.
        let asks = |node: &N| match (&serving.request.by, &serving.request.want) {
            (Some((by, _)), Want::Line(_)) => by == node,
            _ => false,
        };
        let from: Vec<(N, Session)> = match &self.holders {
            Holders::Shared(_) if take == Take::Downgrade => Vec::new(),
            Holders::Shared(sharers) => {
                sharers.iter().map(|(node, holder)| (node.clone(), holder.session)).collect()
            }
            Holders::Exclusive(owner, holder) => vec![(owner.clone(), holder.session)],
        };
        let upto = numbers.so_far();
        let from: Vec<(N, Session)> = from.into_iter().filter(|(node, _)| !asks(node)).collect();
        for (node, session) in from.iter().cloned() {
            let id = numbers.revocation();
            serving.waiting.insert(node.clone(), (id, session));
            out.push(HomeEffect::Revoke { from: node, session, id, upto, take });
        }
        if mutant!(WriteBeforeAcknowledged) {
            serving.waiting.clear();
            for (node, _) in &from {
                self.taken(node, false);
            }
        }
        self.advance(out);
    }

    /// Goes on with the request being served, once nothing is in its way.
    fn advance<V>(&mut self, out: &mut Out<N, V, O>) {
        let Some(serving) = &mut self.serving else { return };
        if !serving.waiting.is_empty() || serving.stage != Stage::Revoking {
            return;
        }
        if !self.unfenced.is_empty() {
            serving.stage = Stage::Fencing(self.unfenced.len());
            let fence = |(node, session): &(N, Session)| HomeEffect::Fence {
                node: node.clone(),
                session: *session,
            };
            out.extend(self.unfenced.iter().map(fence));
            return;
        }
        serving.stage = Stage::Memory;
        let request = serving.request.id;
        match &serving.request.want {
            Want::Line(_) => out.push(HomeEffect::Read { request }),
            Want::Execute(change) => {
                out.push(HomeEffect::Execute { request, change: change.clone() });
            }
            Want::Clear => {
                out.push(HomeEffect::Cleared { request });
                // Nobody has the key: whoever is next has nothing to wait for.
                let next = self.queue.pop_front();
                let stage = Stage::Revoking;
                self.serving =
                    next.map(|request| Serving { request, stage, waiting: BTreeMap::new() });
                self.advance(out);
            }
        }
    }
}
