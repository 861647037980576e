//! The machine: which processors to pin to, and what to write beside numbers measured on it.

use std::fs;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::carrier::default_congestion;

/// Where the client and the server of a pair run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Each pinned to a core of its own.
    Different,
    /// Both pinned to one core.
    Same,
    /// Wherever the scheduler puts them.
    Unpinned,
}

impl Placement {
    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Placement::Different => "different cores",
            Placement::Same => "same core",
            Placement::Unpinned => "unpinned",
        }
    }

    /// The processors of the client and of the server.
    pub fn cpus(self, cores: Cores) -> (Option<usize>, Option<usize>) {
        match self {
            Placement::Different => (Some(cores.client), Some(cores.server)),
            Placement::Same => (Some(cores.server), Some(cores.server)),
            Placement::Unpinned => (None, None),
        }
    }
}

/// Two processors that this process may use; the same one twice where there is no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// For the client.
    pub client: usize,
    /// For the server.
    pub server: usize,
}

impl Cores {
    /// The first allowed processor, and the first other one that is not its hyper-thread sibling if there is such a one.
    pub fn pick() -> Cores {
        let allowed = allowed_cpus();
        let client = allowed.first().copied().unwrap_or(0);
        let siblings = siblings(client);
        let others = || allowed.iter().copied().filter(|&cpu| cpu != client);
        let server = others().find(|cpu| !siblings.contains(cpu)).or_else(|| others().next()).unwrap_or(client);
        Cores { client, server }
    }

    /// Whether client and server have a processor each.
    pub fn are_two(self) -> bool {
        self.client != self.server
    }
}

/// Binds the calling thread to a processor.
///
/// # Errors
///
/// When there is none of this number, or none that it may use.
pub fn pin(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::this()) else {
        return vec![0];
    };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()
}

fn siblings(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    parse_cpu_list(&fs::read_to_string(path).unwrap_or_default())
}

fn parse_cpu_list(list: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
            cpus.extend::<std::ops::RangeInclusive<usize>>(first..=last);
        }
    }
    cpus
}

/// What a reader of the numbers wants to know of the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model, from /proc/cpuinfo.
    pub cpu: String,
    /// How many processors are online and allowed.
    pub cpus: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The architecture.
    pub arch: String,
    /// Whether /proc/cpuinfo shows a hypervisor.
    pub virtual_machine: bool,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The default congestion control.
    pub congestion_control: Option<String>,
    /// The client's and the server's processor when pinned.
    pub pinned: (usize, usize),
    /// The load average over one minute when the run began: other work is noise.
    pub load_1m: f64,
}

impl Machine {
    /// Describes this machine.
    pub fn describe() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let uname = nix::sys::utsname::uname();
        let text = |value: Option<&std::ffi::OsStr>| {
            value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let cores = Cores::pick();
        Machine {
            cpu: field("model name").unwrap_or_else(|| "unknown".to_owned()),
            cpus: allowed_cpus().len(),
            kernel: text(uname.as_ref().ok().map(|u| u.release())),
            arch: text(uname.as_ref().ok().map(|u| u.machine())),
            virtual_machine: field("flags").is_some_and(|flags| flags.contains("hypervisor")),
            memory_mib: first_number(&fs::read_to_string("/proc/meminfo").unwrap_or_default()) as u64 / 1024,
            congestion_control: default_congestion(),
            pinned: (cores.client, cores.server),
            load_1m: first_number(&fs::read_to_string("/proc/loadavg").unwrap_or_default()),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.virtual_machine { ", virtual" } else { "" };
        let congestion = self.congestion_control.as_deref().unwrap_or("unknown");
        write!(
            f,
            "{} × {} ({}{kind}), Linux {}, default congestion control {congestion}",
            self.cpus, self.cpu, self.arch, self.kernel
        )
    }
}

fn first_number(text: &str) -> f64 {
    text.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert!(parse_cpu_list("").is_empty());
    }

    #[test]
    fn one_processor_is_used_for_both() {
        let cores = Cores { client: 3, server: 3 };
        assert!(!cores.are_two());
        assert_eq!(Placement::Different.cpus(cores), (Some(3), Some(3)));
    }
}
