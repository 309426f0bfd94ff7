//! Known bugs put back: the tests above must notice each.

use super::super::mutant::{Mutant, set};
use super::damage;
use super::power::{SCRIPT, total};
use super::rig::Rig;
use crate::raft::fs::Crash;

/// What the power cuts find with a bug put back, first of all.
fn first_finding(mutant: Option<Mutant>) -> Option<String> {
    let total = total();
    set(mutant);
    let mut rig = Rig::new();
    let found = (0..=total).find_map(|cut| {
        rig.reset();
        let result = rig.cut(SCRIPT, cut, Crash::Power);
        result.err().map(|why| format!("cut at {cut}: {why}"))
    });
    set(None);
    found
}

#[test]
fn no_bug_no_finding() {
    assert_eq!(first_finding(None), None);
}

#[test]
fn an_acknowledgement_before_the_sync_is_noticed() {
    let found = first_finding(Some(Mutant::AckBeforeSync)).unwrap();
    assert!(found.contains("something acknowledged is lost"), "{found}");
}

#[test]
fn a_vote_that_is_not_synced_is_noticed() {
    let found = first_finding(Some(Mutant::VoteNotSynced)).unwrap();
    assert!(found.contains("something acknowledged is lost"), "{found}");
}

#[test]
fn a_bad_checksum_that_is_skipped_is_noticed() {
    assert_eq!(damage::undetected(None), 0);
    assert!(damage::undetected(Some(Mutant::BadChecksumTaken)) > 0);
}
