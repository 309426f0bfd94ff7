//! What must hold, at any time and in the end.

use super::{Member, Run, Sim, View};

impl Sim {
    fn order(&self, view: &View) -> usize {
        self.views.iter().rposition(|one| one == view).unwrap_or(0)
    }

    /// No run has a lease of a view before that one.
    pub(super) fn no_lease_before(&mut self, view: &View, what: &str) {
        let least = self.order(view);
        for run in &self.runs {
            let theirs = run.standing.view();
            if run.standing.epoch(run.clock(self.now)).is_some() && self.order(theirs) < least {
                let text = format!(
                    "{what} {} while {}/{} has a lease by {}",
                    view.epoch,
                    run.standing.me().node,
                    run.standing.me().incarnation,
                    brief(theirs),
                );
                self.broken = Some(text);
            }
        }
    }

    pub(super) fn check(&mut self) {
        let serving: Vec<View> = self
            .runs
            .iter()
            .filter(|run| run.standing.serves(run.clock(self.now)).is_some())
            .map(|run| run.standing.view().clone())
            .collect();
        self.served += u64::from(!serving.is_empty());
        for view in serving {
            self.no_lease_before(&view, "a node serves in");
        }
        // Who reads the memory directly must know of everybody who writes back.
        let leased = |run: &&Run| run.standing.epoch(run.clock(self.now)).is_some();
        let back = self.runs.iter().filter(leased).filter(|run| run.standing.me().writes_back);
        let back = back.map(|run| self.order(run.standing.view())).min().unwrap_or(usize::MAX);
        let blind = |run: &Run| {
            let view = run.standing.view();
            view.writes_through() && self.order(view) >= back
        };
        if self.runs.iter().filter(leased).any(blind) {
            self.broken = Some("a node reads past one that writes back".to_owned());
        }
    }

    /// Every view that was in force.
    pub(in super::super) fn views(&self) -> &[View] {
        &self.views
    }

    /// The view that all runs are in and serve in.
    pub(in super::super) fn agreed(&self) -> Option<u64> {
        let view = self.runs.first()?.standing.view();
        let fine = |run: &Run| {
            run.standing.view() == view && run.standing.serves(run.clock(self.now)).is_some()
        };
        let all = view.members.len() == self.runs.len() && self.runs.iter().all(fine);
        all.then_some(view.epoch)
    }

    /// The trace, and how each run stands.
    pub(in super::super) fn story(&self) -> String {
        let stands = self.runs.iter().map(|run| {
            let clock = run.clock(self.now);
            let view = brief(run.standing.view());
            let serves = run.standing.serves(clock);
            let me = run.standing.me();
            format!("{}/{} acts by {view}, serves {serves:?}", me.node, me.incarnation)
        });
        let lines: Vec<String> = self.trace.iter().cloned().chain(stands).collect();
        lines.join("\n")
    }
}

/// A view in few words.
pub(super) fn brief(view: &View) -> String {
    let names = |members: &[Member]| {
        let names = members.iter().map(|one| format!("{}/{}", one.node, one.incarnation));
        names.collect::<Vec<_>>().join(",")
    };
    format!("{}@{} [{}] -[{}]", view.epoch, view.run, names(&view.members), names(&view.silent))
}
