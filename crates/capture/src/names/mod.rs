//! Names of stacks, found in the background.
//!
//! Owns: the naming thread and its queue. Must not know: how stacks were captured, how names are shown.
//!
//! An attach never waits for names: stacks are asked for by their id and come back when they are ready. Files are mapped
//! and parsed unit by unit, so that half a gigabyte of debug information costs what the stacks touch of it.

mod files;
mod limits;
mod modules;
mod scope;
mod source;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use model::{Address, Frame, FrameTrust, Pid, StackId};

pub use modules::ModuleMap;
pub use source::{SourceFiles, SourceText};

use files::TargetFiles;
use limits::{JOBS_MAX, REMARKS_MAX, THREAD_STACK_BYTES};
use scope::{Scope, Stores};

/// Whose stacks, and where debug information may be.
#[derive(Clone, Debug)]
pub struct NameOptions {
    /// The target.
    pub pid: Pid,
    /// Folders of leakline's user that are searched first (`--debug-dir`).
    pub debug_dirs: Vec<PathBuf>,
    /// Files of leakline's user (`--debug-file`), used for the module with the same build id.
    pub debug_files: Vec<PathBuf>,
}

/// The naming thread of one target. Dropping it stops the thread without waiting for it.
#[derive(Debug)]
pub struct Namer {
    jobs: Option<Sender<Job>>,
    results: Receiver<Named>,
    shared: Arc<Shared>,
}

/// A stack with its frames from the innermost outwards; functions that were inlined stand before the frame they are in.
type Named = (StackId, Arc<[Frame]>);

#[derive(Debug)]
struct Job {
    stack: StackId,
    addresses: Vec<(Address, FrameTrust)>,
    modules: Arc<ModuleMap>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    waiting: AtomicUsize,
    remarks: Remarks,
}

/// What the user should know about files, once each.
#[derive(Debug, Default)]
struct Remarks {
    texts: Mutex<Vec<String>>,
    used: Mutex<Vec<PathBuf>>,
}

impl Namer {
    /// Starts the thread. The target's file system is opened now; everything else waits for the first request.
    pub fn start(options: NameOptions) -> Self {
        let (jobs, queue) = channel();
        let (found, results) = channel();
        let shared = Arc::new(Shared::default());
        let target = TargetFiles::of(options.pid);
        let theirs = Arc::clone(&shared);
        let builder = thread::Builder::new().name("leakline-names".into()).stack_size(THREAD_STACK_BYTES);
        if builder.spawn(move || run(&options, &target, &queue, &found, &theirs)).is_err() {
            // The queue is gone with the closure, so that each request is refused.
            shared.remarks.add("no thread could be started, hence there are no names".into());
        }
        Self { jobs: Some(jobs), results, shared }
    }

    /// Asks for the names of a stack, whose addresses are return addresses in the modules of `modules`. False when too
    /// many stacks are waiting: ask again later.
    pub fn request(&self, stack: StackId, addresses: Vec<(Address, FrameTrust)>, modules: Arc<ModuleMap>) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        if self.shared.waiting.fetch_add(1, Ordering::Relaxed) >= JOBS_MAX
            || jobs.send(Job { stack, addresses, modules }).is_err()
        {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// The stacks that were named since the last call. Does not wait.
    pub fn take(&self) -> Vec<(StackId, Arc<[Frame]>)> {
        self.results.try_iter().collect()
    }

    /// Stacks that are asked for and not named yet.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// What the user should know about debug files, such as one that belongs to no module. Each is given once.
    pub fn remarks(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.remarks.texts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the stacks that were asked for, at most for `timeout`, and gives those that `take` did not give.
    pub fn finish(&mut self, timeout: Duration) -> Vec<(StackId, Arc<[Frame]>)> {
        self.jobs = None;
        let started = Instant::now();
        let mut all = Vec::new();
        while let Some(left) = timeout.checked_sub(started.elapsed()) {
            match self.results.recv_timeout(left) {
                Ok(named) => all.push(named),
                Err(_) => break,
            }
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        all.extend(self.results.try_iter());
        all
    }
}

impl Drop for Namer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Remarks {
    fn add(&self, text: String) {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.len() < REMARKS_MAX && !texts.contains(&text) {
            texts.push(text);
        }
    }

    fn used(&self, path: &Path) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    }

    /// Names the files of the user that were of no use.
    fn add_unused(&self, files: &[PathBuf]) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        for file in files.iter().filter(|file| !used.contains(file)) {
            self.add(format!("{}: its build id is that of no module in these stacks", file.display()));
        }
    }
}

/// The thread: scopes follow each other, each with its own files, until nobody asks any more.
fn run(options: &NameOptions, target: &TargetFiles, queue: &Receiver<Job>, found: &Sender<Named>, shared: &Shared) {
    let mut more = true;
    while more {
        let stores = Stores::new();
        let mut scope = Scope::new(options, target, &stores, &shared.remarks);
        more = serve(&mut scope, queue, found, shared);
    }
    shared.remarks.add_unused(&options.debug_files);
}

/// Names stacks until the scope is full (true) or nobody asks any more (false).
fn serve(scope: &mut Scope<'_>, queue: &Receiver<Job>, found: &Sender<Named>, shared: &Shared) -> bool {
    while !scope.is_full() {
        let Ok(job) = queue.recv() else { return false };
        let mut frames = Vec::with_capacity(job.addresses.len());
        for (address, trust) in job.addresses {
            if shared.stop.load(Ordering::Relaxed) {
                return false;
            }
            let _turn = crate::turns::Turn::to_name();
            scope.name(address, trust, &job.modules, &mut frames);
        }
        let sent = found.send((job.stack, frames.into()));
        shared.waiting.fetch_sub(1, Ordering::Relaxed);
        if sent.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
