//! What the kernel says of a process: bytes written, CPU used, memory.

use std::fs;

/// Figures of one process, counted from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that it caused to be written to storage.
    pub write_bytes: u64,
    /// CPU time, user and system, in clock ticks of 10 ms.
    pub cpu_ticks: u64,
    /// Resident memory.
    pub resident_kib: u64,
    /// Open files and sockets.
    pub descriptors: usize,
}

impl Usage {
    /// Reads the figures of a live process.
    pub fn of(pid: u32) -> Self {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}"))
                .unwrap_or_else(|e| panic!("/proc/{pid}/{file}: {e}"))
        };
        let stat = read("stat");
        // The name, in brackets, may hold blanks: fields are counted from behind it.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let tick = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).expect("a count");
        Self {
            write_bytes: field(&read("io"), "write_bytes:"),
            cpu_ticks: tick(11) + tick(12),
            resident_kib: field(&read("status"), "VmRSS:"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))
                .unwrap_or_else(|e| panic!("/proc/{pid}/fd: {e}"))
                .count(),
        }
    }
}

fn field(text: &str, key: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no {key} in {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_has_figures() {
        let usage = Usage::of(std::process::id());
        assert!(usage.resident_kib > 0 && usage.descriptors > 0, "{usage:?}");
    }
}
