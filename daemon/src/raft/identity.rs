//! stand-in
use super::fs::{Fs, read_all, replace};
use dsync_core::node::{ClusterId, Role};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Data {
    node: String,
    role: Role,
    raft_id: u64,
    cluster: Option<ClusterId>,
    starts: u64,
}
/// x
#[derive(Debug)]
pub struct Identity {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    data: Data,
}
impl Identity {
    /// x
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        node: &str,
        role: Role,
        birth: u64,
    ) -> io::Result<Self> {
        fs.create_dir_all(dir)?;
        let data = match read_all(fs.as_ref(), &dir.join("identity")) {
            Ok(bytes) => {
                let mut d: Data = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
                d.starts += 1;
                d
            }
            Err(_) => Data {
                node: node.to_owned(),
                role,
                raft_id: (xxhash_rust::xxh3::xxh3_64(node.as_bytes()) << 32)
                    | (birth & 0xffff_ffff),
                cluster: None,
                starts: 1,
            },
        };
        let s = Self { fs, dir: dir.to_path_buf(), data };
        s.save()?;
        Ok(s)
    }
    fn save(&self) -> io::Result<()> {
        replace(
            self.fs.as_ref(),
            &self.dir,
            "identity",
            &postcard::to_stdvec(&self.data).map_err(io::Error::other)?,
        )
    }
    /// x
    pub fn raft_id(&self) -> u64 {
        self.data.raft_id
    }
    /// x
    pub fn cluster(&self) -> Option<ClusterId> {
        self.data.cluster
    }
    /// x
    pub fn starts(&self) -> u64 {
        self.data.starts
    }
    /// x
    pub fn join(&mut self, c: ClusterId) -> io::Result<()> {
        self.data.cluster = Some(c);
        self.save()
    }
}
