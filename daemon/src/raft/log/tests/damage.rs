//! Bits that turn over on disk, files that are gone: refused with file and place.

use std::path::{Path, PathBuf};

use super::super::error::LogError;
use super::super::mutant::{self, Mutant};
use super::super::segment;
use super::rig::{DIR, Op, Rig, State};
use crate::raft::fs::{Crash, Fs, read_all};

const SCRIPT: &[Op] = &[
    Op::Vote(1),
    Op::Append(3, 60),
    Op::Settle,
    Op::Append(3, 60),
    Op::Settle,
    Op::Append(2, 60),
    Op::Settle,
    Op::Append(1, 60),
    Op::Settle,
];

fn path(sequence: u64) -> PathBuf {
    Path::new(DIR).join(segment::name(sequence))
}

/// A log of three segments, the last one with a batch before its last.
fn three() -> Rig {
    let rig = Rig::new();
    assert!(!rig.run(&State::default(), SCRIPT).failed);
    assert_eq!(rig.fs.list(Path::new(DIR)).unwrap().len(), 3);
    rig
}

/// Flips every bit of the first two segments in turn, and counts those that the log opens with.
pub(super) fn undetected(bug: Option<Mutant>) -> usize {
    let rig = three();
    let mut undetected = 0;
    for sequence in [1, 2] {
        let good = read_all(&rig.fs, &path(sequence)).unwrap();
        for offset in 0..good.len() {
            rig.fs.flip_bit(&path(sequence), offset, 5).unwrap();
            mutant::set(bug);
            let opened = rig.open();
            mutant::set(None);
            match opened {
                Ok(store) => {
                    undetected += 1;
                    rig.crash(Crash::Power);
                    rig.close(store);
                }
                Err(_) if bug.is_some() => {}
                Err(LogError::Damaged { path: named, offset: place, .. }) => {
                    assert_eq!(named, path(sequence));
                    assert!(place <= u64::try_from(offset).unwrap(), "{place} for {offset}");
                }
                Err(other) => panic!("{other}"),
            }
            rig.fs.put(&path(sequence), &good);
        }
    }
    undetected
}

#[test]
fn a_flipped_bit_in_an_older_segment_is_refused() {
    assert_eq!(undetected(None), 0);
}

#[test]
fn a_flipped_bit_before_the_last_batch_is_refused() {
    let rig = three();
    let last = path(3);
    let good = read_all(&rig.fs, &last).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // The record that closes the log is the last batch: `length crc kind format synced` and 1 byte.
    let closing = used.max(good.len().min(used + 1)) - 15;
    let mut refused = 0;
    for offset in 0..closing {
        rig.fs.flip_bit(&last, offset, 1).unwrap();
        let error = rig.open().unwrap_err();
        assert!(matches!(&error, LogError::Damaged { path, .. } if *path == last), "{error}");
        assert_eq!(read_all(&rig.fs, &last).unwrap()[..offset], good[..offset], "it was changed");
        rig.fs.put(&last, &good);
        refused += 1;
    }
    assert!(refused > 100);
}

#[test]
fn the_error_names_file_and_place_and_what_to_do() {
    let rig = three();
    rig.fs.flip_bit(&path(2), 100, 0).unwrap();
    let error = rig.open().unwrap_err().to_string();
    assert!(error.contains("/data/log/log-0000000000000002.seg is damaged at byte "), "{error}");
    assert!(error.contains("move this node's data directory away"), "{error}");
}

#[test]
fn zeros_where_records_were_are_refused() {
    let rig = three();
    let good = read_all(&rig.fs, &path(1)).unwrap();
    let blank = [&good[..100], &vec![0; good.len() - 100]].concat();
    rig.fs.put(&path(1), &blank);
    let error = rig.open().unwrap_err().to_string();
    assert!(error.contains("log-000000000000000"), "{error}");
}

#[test]
fn missing_files_are_refused() {
    for gone in [1, 2] {
        let rig = three();
        rig.fs.remove(&path(gone)).unwrap();
        let error = rig.open().unwrap_err();
        let LogError::Missing { path: oldest, first, last } = &error else { panic!("{error}") };
        assert_eq!(*oldest, path(3).with_file_name(segment::name(gone + 1)));
        assert_eq!(*first, 0);
        assert!(*last > 0);
    }
}

#[test]
fn a_file_that_is_no_segment_is_refused() {
    let rig = three();
    rig.fs.put(&path(2), b"hello, world");
    let error = rig.open().unwrap_err().to_string();
    assert!(error.contains("does not begin as a segment"), "{error}");
}

#[test]
fn purged_segments_that_came_back_are_removed() {
    let rig = Rig::new();
    let first = rig.run(&State::default(), SCRIPT);
    let old = read_all(&rig.fs, &path(1)).unwrap();
    let purge = [Op::Purge(1), Op::Settle, Op::Append(1, 1), Op::Settle];
    let run = rig.run(first.states.last().unwrap(), &purge);
    assert!(rig.fs.open(&path(1)).is_err() && rig.fs.open(&path(2)).is_err());
    rig.fs.put(&path(1), &old);
    rig.check(&run).unwrap();
    assert!(rig.fs.open(&path(1)).is_err());
}
