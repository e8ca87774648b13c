//! What the system says of this process.

use std::{fs, time::Duration};

/// Memory in use, in bytes. 0 where the system does not say.
pub(crate) fn resident() -> f64 {
    status("/proc/self/status", "VmRSS:").unwrap_or(0.0) * 1024.0
}

/// Memory in use by another process, in bytes. 0 where the system does not say.
pub(crate) fn resident_of(process: u32) -> f64 {
    status(&format!("/proc/{process}/status"), "VmRSS:").unwrap_or(0.0) * 1024.0
}

/// How often the system took the processor from this thread.
pub(crate) fn switches() -> Option<u64> {
    status("/proc/thread-self/status", "nonvoluntary_ctxt_switches:").map(|times| times as u64)
}

/// What all threads of another process have used of processors. Zero where the system does not say.
pub(crate) fn processor_time_of(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let time = |thread: fs::DirEntry| {
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    };
    threads.filter_map(time).sum()
}

/// What all its threads have used of processors, to some 10 ms. Zero where the system does not say.
pub(crate) fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program comes first, in parentheses, and may have anything in it (proc_pid_stat(5)).
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // USER_HZ is 100 wherever Linux runs today.
    Duration::from_millis(10 * ticks)
}

fn status(file: &str, name: &str) -> Option<f64> {
    let status = fs::read_to_string(file).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}
