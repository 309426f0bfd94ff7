//! Backups: the whole state in one file, taken and restored in pieces over the wire.
//!
//! A backup is `DSYNCBAK`, a format version, the role, the log index and the time it was taken at,
//! the state, and a checksum over all of it. It is taken at the leader after a quorum confirmed
//! it, so it contains everything that was acknowledged before. A restore goes through the log, so
//! that all nodes replace their state at one index.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dsync::api::AdminReply;
use dsync::backup::{FORMAT, Header};
use dsync_core::node::Role;
use dsync_core::{Code, Fault};
use parking_lot::Mutex;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::engine::{Engine, NotDone};
use super::machine::{Machine, Piece};

/// Bytes of one piece on the wire: well below the frame limit of clients.
const PIECE: usize = 256 * 1024;
/// Bytes of one piece in the log: below the engine's limit for a command.
const LOG_PIECE: usize = 96 * 1024;
/// Largest backup.
const BACKUP_MAX: usize = 1 << 30;
/// Transfers at one time; each holds a whole backup in memory.
const TRANSFERS_MAX: usize = 2;
/// A transfer that rests for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A piece of a backup from a client.
#[derive(Debug)]
pub struct Upload {
    /// Chosen by the client.
    pub id: u64,
    /// Where the piece belongs.
    pub offset: u64,
    /// The piece.
    pub data: Vec<u8>,
    /// True for the last one.
    pub done: bool,
}

#[derive(Debug)]
struct Transfer {
    data: Vec<u8>,
    touched: Instant,
}

/// Backups on their way in and out.
#[derive(Debug, Default)]
pub struct Transfers {
    out: Mutex<BTreeMap<u64, Transfer>>,
    into: Mutex<BTreeMap<u64, Transfer>>,
}

fn not_done(error: &NotDone) -> Fault {
    match error {
        NotDone::Refused(why) => Fault::new(Code::InvalidArgument, why.clone()),
        NotDone::NotLeader(_) | NotDone::NoQuorum(_) | NotDone::Stopped(_) => {
            Fault::unavailable(error.to_string())
        }
    }
}

/// Drops transfers that rest, and refuses one too many.
fn make_room(transfers: &mut BTreeMap<u64, Transfer>) -> Result<(), Fault> {
    transfers.retain(|_, transfer| transfer.touched.elapsed() < PATIENCE);
    if transfers.len() >= TRANSFERS_MAX {
        return Err(Fault::unavailable(format!(
            "{TRANSFERS_MAX} backups are on their way already"
        )));
    }
    Ok(())
}

impl Transfers {
    /// A piece of a backup; offset 0 takes a new one.
    ///
    /// # Errors
    /// `NotFound`: the transfer rested for too long; `Unavailable`: no leader, no quorum.
    pub async fn read<M: Machine>(
        &self,
        engine: &Engine<M>,
        role: Role,
        id: u64,
        offset: u64,
        within: Duration,
    ) -> Result<AdminReply, Fault> {
        if id == 0 {
            let data = take(engine, role, within).await?;
            return self.begin(data);
        }
        let mut out = self.out.lock();
        let transfer = out
            .get_mut(&id)
            .ok_or_else(|| Fault::new(Code::NotFound, format!("no backup {id}: begin anew")))?;
        transfer.touched = Instant::now();
        let reply = piece_of(id, &transfer.data, offset)?;
        if let AdminReply::Snapshot { total, data, .. } = &reply
            && offset + u64::try_from(data.len()).unwrap_or(0) >= *total
        {
            out.remove(&id);
        }
        Ok(reply)
    }

    /// The first piece of a new backup. What fits into it is done with.
    fn begin(&self, data: Vec<u8>) -> Result<AdminReply, Fault> {
        let id = xxh3_64(&data) | 1;
        let reply = piece_of(id, &data, 0)?;
        if data.len() > PIECE {
            let mut out = self.out.lock();
            make_room(&mut out)?;
            out.insert(id, Transfer { data, touched: Instant::now() });
        }
        Ok(reply)
    }

    /// Takes a piece in; the last one replaces the state of the cluster.
    ///
    /// # Errors
    /// `InvalidArgument`: not a backup, damaged, of another role or a later format; `NotFound`: the
    /// transfer rested for too long. Nothing is changed then.
    pub async fn write<M: Machine>(
        &self,
        engine: &Engine<M>,
        role: Role,
        upload: Upload,
        within: Duration,
    ) -> Result<String, Fault> {
        let Some(whole) = self.collect(&upload)? else { return Ok("taken".to_owned()) };
        let (header, state) = open(&whole, role)?;
        let id = xxh3_64(state) ^ rand::random::<u64>();
        let state = Bytes::copy_from_slice(state);
        let checksum = xxh3_64(&state);
        let until = Instant::now() + within;
        let mut offset = 0;
        loop {
            let end = state.len().min(offset + LOG_PIECE);
            let done = (end == state.len()).then_some(checksum);
            let offset_64 = u64::try_from(offset).unwrap_or(u64::MAX);
            let piece = Piece { id, offset: offset_64, data: state.slice(offset..end), done };
            tokio::time::timeout_at(until, engine.restore(piece))
                .await
                .map_err(|_| Fault::unknown("the restore did not finish in time"))?
                .map_err(|e| not_done(&e))?;
            if done.is_some() {
                return Ok(format!("restored the state of log index {}", header.index));
            }
            offset = end;
        }
    }

    /// Adds a piece; gives the whole after the last one.
    fn collect(&self, upload: &Upload) -> Result<Option<Vec<u8>>, Fault> {
        let bad = |why: String| Fault::new(Code::InvalidArgument, why);
        // Nothing is wrong with the backup then.
        let lost = |why: String| Fault::new(Code::NotFound, why);
        let mut into = self.into.lock();
        if upload.offset == 0 {
            into.remove(&upload.id);
            make_room(&mut into)?;
            into.insert(upload.id, Transfer { data: Vec::new(), touched: Instant::now() });
        }
        let transfer = into
            .get_mut(&upload.id)
            .ok_or_else(|| lost(format!("no restore {}: begin anew", upload.id)))?;
        let have = u64::try_from(transfer.data.len()).unwrap_or(u64::MAX);
        if have != upload.offset {
            return Err(lost(format!("piece at {}, expected {have}: begin anew", upload.offset)));
        }
        if transfer.data.len() + upload.data.len() > BACKUP_MAX {
            return Err(bad(format!("a backup has at most {BACKUP_MAX} bytes")));
        }
        transfer.data.extend_from_slice(&upload.data);
        transfer.touched = Instant::now();
        Ok(upload.done.then(|| into.remove(&upload.id)).flatten().map(|t| t.data))
    }
}

fn piece_of(id: u64, whole: &[u8], offset: u64) -> Result<AdminReply, Fault> {
    let past_end = || Fault::new(Code::InvalidArgument, format!("offset {offset} is past the end"));
    let start = usize::try_from(offset).map_err(|_| past_end())?;
    let rest = whole.get(start..).ok_or_else(past_end)?;
    let data = rest.get(..PIECE).unwrap_or(rest).to_vec();
    let total = u64::try_from(whole.len()).unwrap_or(u64::MAX);
    Ok(AdminReply::Snapshot { id, total, data })
}

/// Takes a backup of everything that is acknowledged now.
async fn take<M: Machine>(
    engine: &Engine<M>,
    role: Role,
    within: Duration,
) -> Result<Vec<u8>, Fault> {
    let failed = |error: std::io::Error| Fault::new(Code::Internal, format!("backup: {error}"));
    let (t_ms, state) = engine
        .read(within, |machine| machine.snapshot().map(|state| (machine.now_ms(), state)))
        .await
        .map_err(|e| not_done(&e))?
        .map_err(failed)?;
    let index = engine.applied().borrow().last.as_ref().map_or(0, openraft::LogId::index);
    let header = Header { format: FORMAT, role, index, t_ms };
    let no_header = || failed(std::io::Error::other("its header cannot be written"));
    let mut whole = header.write().ok_or_else(no_header)?;
    whole.extend(state);
    let checksum = xxh3_64(&whole);
    whole.extend(checksum.to_le_bytes());
    Ok(whole)
}

/// Checks a backup and finds the state in it.
fn open(whole: &[u8], role: Role) -> Result<(Header, &[u8]), Fault> {
    let bad = |why: &str| {
        Fault::new(Code::InvalidArgument, format!("this cannot be restored: {why}"))
            .hint("use a file that `dsctl raft snapshot save` wrote")
    };
    // Of something that is no backup at all this is the better answer.
    Header::read(whole).map_err(|why| bad(&why))?;
    let (body, checksum) = whole.split_last_chunk::<8>().ok_or_else(|| bad("it is cut short"))?;
    if xxh3_64(body) != u64::from_le_bytes(*checksum) {
        return Err(bad("its checksum does not match: it is damaged or cut short"));
    }
    let (header, state) = Header::read(body).map_err(|why| bad(&why))?;
    if header.role != role {
        return Err(bad(&format!("it is of {} nodes, these are {role} nodes", header.role)));
    }
    Ok((header, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let header = Header { format: FORMAT, role: Role::Lock, index: 9, t_ms: 5 };
        let mut whole = header.write().unwrap();
        whole.extend(b"state");
        let checksum = xxh3_64(&whole);
        whole.extend(checksum.to_le_bytes());
        whole
    }

    #[test]
    fn a_backup_opens_and_every_damage_is_refused() {
        let good = sample();
        let (header, state) = open(&good, Role::Lock).unwrap();
        assert_eq!((header.index, state), (9, b"state".as_slice()));
        assert!(open(&good, Role::Queue).unwrap_err().message.contains("lock nodes"));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open(&bad, Role::Lock).is_err(), "flipped byte {at}");
            assert!(open(&good[..at], Role::Lock).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_backup_of_one_piece_is_not_on_its_way_any_more() {
        let transfers = Transfers::default();
        for _ in 0..=TRANSFERS_MAX {
            transfers.begin(vec![7; PIECE]).unwrap();
        }
        for n in 0..TRANSFERS_MAX {
            transfers.begin(vec![u8::try_from(n).unwrap(); PIECE + 1]).unwrap();
        }
        let refused = transfers.begin(vec![9; PIECE + 1]).unwrap_err();
        assert_eq!(refused.code, Code::Unavailable);
        transfers.begin(vec![9; PIECE]).unwrap();
    }

    #[test]
    fn pieces_must_follow_each_other() {
        let transfers = Transfers::default();
        let piece = |offset, done| Upload { id: 7, offset, data: vec![1, 2, 3], done };
        assert_eq!(transfers.collect(&piece(0, false)).unwrap(), None);
        assert_eq!(transfers.collect(&piece(9, false)).unwrap_err().code, Code::NotFound);
        let whole = transfers.collect(&piece(3, true)).unwrap().unwrap();
        assert_eq!(whole, [1, 2, 3, 1, 2, 3]);
        assert!(transfers.collect(&piece(6, true)).is_err(), "it is over");
    }
}
