//! stand-in
use super::fs::{Fs, read_all, replace};
use super::types::SnapshotMeta;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
/// x
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// x
    pub meta: SnapshotMeta,
    /// x
    pub data: Vec<u8>,
}
/// x
#[derive(Debug)]
pub struct SnapshotStore {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}
impl SnapshotStore {
    /// x
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> io::Result<Self> {
        fs.create_dir_all(dir)?;
        Ok(Self { fs, dir: dir.to_path_buf() })
    }
    /// x
    pub fn current(&self) -> io::Result<Option<Snapshot>> {
        match read_all(self.fs.as_ref(), &self.dir.join("snap")) {
            Ok(b) => {
                let (m, rest): (SnapshotMeta, _) =
                    postcard::take_from_bytes(&b).map_err(io::Error::other)?;
                Ok(Some(Snapshot { meta: m, data: rest.to_vec() }))
            }
            Err(_) => Ok(None),
        }
    }
    /// x
    pub fn save(&self, s: &Snapshot) -> io::Result<()> {
        let mut b = postcard::to_stdvec(&s.meta).map_err(io::Error::other)?;
        b.extend(&s.data);
        replace(self.fs.as_ref(), &self.dir, "snap", &b)
    }
}
