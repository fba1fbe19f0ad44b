//! The target's mappings and tables of code, kept in step with what it loads and unloads.
//!
//! Owns: the thread that answers when the target's dynamic linker or the agent asks for a look, and the mappings as they were
//! last read. Must not know: hooks, what the tables look like.
//!
//! The target waits for the answer, a fraction of a second at most: so there is a thread for it, which nothing else delays.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use formats::maps;

use super::code::CodeTables;
use super::file::SharedFile;
use super::inside::are_frames_outside;
use super::launch::{is_linking, linker_state};
use super::target::Target;
use crate::sys::futex;
use crate::sys::keeper::ControlPage;
use crate::sys::ptrace::Registers;

/// How often the mappings are read anew without a reason.
const WITHOUT_REASON: Duration = Duration::from_secs(5);
/// How long the thread sleeps when nobody asks, and the shortest time between two looks for code that is in no mapping: what looked
/// like a return address was none.
const IDLE: Duration = Duration::from_millis(100);
/// Unloaded modules that are remembered for their names.
const UNLOADED_MAX: usize = 4096;

/// Keeps them until it is dropped.
#[derive(Debug)]
pub(crate) struct Modules {
    state: Arc<Mutex<State>>,
    page: Arc<ControlPage>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    target: Target,
    page: Arc<ControlPage>,
    file: SharedFile,
    code: CodeTables,
    /// Where the dynamic linker says whether it is in the middle of something.
    linker: Option<u64>,
    /// `/proc/PID/maps` as it was last read, and when.
    text: Vec<u8>,
    read: Instant,
    /// The same with what was unloaded since.
    known: Arc<[u8]>,
    /// When to look next for code that lies in no mapping.
    next_search: Instant,
    /// Bytes that new tables may take.
    room: u64,
}

impl Modules {
    /// Publishes the tables that were made of these mappings, all of them, and begins to answer.
    pub(crate) fn start(
        target: &Target,
        (page, file): (&Arc<ControlPage>, &SharedFile),
        (code, text): (CodeTables, &[u8]),
    ) -> io::Result<Self> {
        let now = Instant::now();
        let mut state = State {
            target: target.again()?,
            page: page.clone(),
            file: SharedFile::new(file.file().try_clone()?),
            code,
            linker: linker_state(target),
            text: text.to_vec(),
            read: now,
            known: text.into(),
            next_search: now,
            room: u64::MAX,
        };
        state.publish()?;
        // How much is left for those that come later nobody has said yet.
        state.room = 0;
        let (state, is_over) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let (kept, ends, shared) = (state.clone(), is_over.clone(), page.clone());
        let answer = move || answer(&kept, &shared, &ends);
        let thread = std::thread::Builder::new().name("modules".into()).spawn(answer)?;
        Ok(Self { state, page: page.clone(), is_over, thread: Some(thread) })
    }

    /// New tables may take so many bytes from here on. To be said before any hook can tell of a library: one that was loaded in the instant
    /// between the attach and its first reading took all that it wanted, whatever the cap was.
    pub(crate) fn limit(&self, room: u64) {
        lock(&self.state).room = room;
    }

    /// Looks again if there is a reason; new tables may take so many bytes from here on.
    pub(crate) fn refresh(&self, room: u64) {
        let mut state = lock(&self.state);
        state.room = room;
        state.look(false);
    }

    /// Reads the mappings now, whatever they were: see [`Self::are_frames_outside`].
    pub(crate) fn read_again(&self) {
        lock(&self.state).look(true);
    }

    /// The mappings, and behind them those of code that was unloaded, in the form of `/proc/PID/maps`.
    pub(crate) fn maps(&self) -> Arc<[u8]> {
        lock(&self.state).known.clone()
    }

    /// Modules whose tables found no room.
    pub(crate) fn refused(&self) -> u64 {
        lock(&self.state).code.refused
    }

    /// Whether a stopped thread will not return into code that `within` accepts: all its frames are known, and none is there. They are
    /// known by the mappings as they were last read.
    pub(crate) fn are_frames_outside(&self, registers: &Registers, within: impl Fn(u64) -> bool) -> bool {
        let state = lock(&self.state);
        are_frames_outside(&state.target, registers, |pc| state.code.rule(&state.file, pc), within)
    }

    /// Lets threads go that wait for an answer. To be called when nobody listens any more.
    pub(crate) fn dismiss(&self) {
        futex::wake(&self.page.control().loads.answered);
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        self.is_over.store(true, Release);
        // Its sleep ends when this word changes.
        let asked = &self.page.control().loads.asked;
        asked.fetch_add(1, AcqRel);
        futex::wake(asked);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A look that panicked leaves tables that are a little behind.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &Mutex<State>, page: &ControlPage, is_over: &AtomicBool) {
    let loads = &page.control().loads;
    let mut answered = loads.answered.load(Acquire);
    while !is_over.load(Acquire) {
        futex::sleep_while(&loads.asked, answered, IDLE);
        let asked = loads.asked.load(Acquire);
        let is_asked = asked != answered;
        let began = Instant::now();
        let is_new = lock(state).look(is_asked);
        answered = asked;
        loads.answered.store(answered, Release);
        loads.neglected.store(0, Release);
        if is_asked {
            futex::wake(&loads.answered);
        }
        // A stray write of the target over the word must not keep a processor busy.
        if is_asked && !is_new {
            std::thread::sleep(began.elapsed().min(IDLE));
        }
    }
}

impl State {
    /// Reads the mappings if that was asked for, if the agent met unknown code, or if some time has passed. Says whether there was
    /// anything new.
    fn look(&mut self, is_asked: bool) -> bool {
        let now = Instant::now();
        let unknown = &self.page.control().threads.unknown_code;
        // A library that is loaded again lies where it lay, so that the same address is met again.
        let is_searched = now >= self.next_search && unknown.swap(0, Relaxed) != 0;
        let is_due = is_searched || now.duration_since(self.read) >= WITHOUT_REASON;
        // Before it maps a library the linker asks as well, and there is nothing to see yet.
        let is_told = is_asked && !self.linker.is_some_and(|state| is_linking(&self.target, state));
        if !is_due && !is_told {
            return false;
        }
        self.read = now;
        // A target that is gone has no mappings; what is known of it stays.
        let text = self.target.maps().ok().filter(|text| !text.is_empty() && *text != self.text);
        let Some(text) = text else {
            self.next_search = now + IDLE;
            return false;
        };
        let mappings: Vec<_> = maps::parse(&text).collect();
        self.code.learn(&self.target, &mappings);
        self.known = with_unloaded(&self.known, &text).into();
        self.text = text;
        // What cannot be written is missing in the tables: stacks end there, which the report counts.
        let _ = self.publish();
        true
    }

    fn publish(&mut self) -> io::Result<()> {
        let mappings: Vec<_> = maps::parse(&self.text).collect();
        let written = self.code.publish(&mappings, &self.file, self.page.control(), self.room)?;
        self.room = self.room.saturating_sub(written);
        Ok(())
    }
}

/// The new mappings, and of the old ones those of code that was unloaded since and has left its place empty: stacks of blocks that
/// live on still lead there.
fn with_unloaded(old: &[u8], new: &[u8]) -> Vec<u8> {
    let now: Vec<_> = maps::parse(new).collect();
    let is_free = |line: &&[u8]| {
        let mut mappings = maps::parse(line);
        mappings.next().is_some_and(|gone| {
            let overlaps = |mapping: &maps::Mapping<'_>| {
                mapping.addresses.start < gone.addresses.end && gone.addresses.start < mapping.addresses.end
            };
            gone.permissions.execute && gone.inode != 0 && !now.iter().any(overlaps)
        })
    };
    let mut merged = new.to_vec();
    for line in old.split_inclusive(|byte| *byte == b'\n').filter(is_free).take(UNLOADED_MAX) {
        merged.extend_from_slice(line);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing was said of what there is room for, then that there is enough, while code comes that was not there at the start.
    #[test]
    fn code_that_comes_before_the_first_reading_has_no_more_room_than_there_is() {
        let target = Target::open_held(model::Pid(std::process::id())).unwrap();
        let path = std::env::temp_dir().join(format!("leakline-modules-{}", std::process::id()));
        let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(wire::FILE_BYTES).unwrap();
        let page = Arc::new(ControlPage::map(&file).unwrap());
        let file = SharedFile::new(file);
        for (room, is_refused) in [(None, true), (Some(u64::MAX), false)] {
            let modules = Modules::start(&target, (&page, &file), (CodeTables::default(), b"")).unwrap();
            if let Some(room) = room {
                modules.limit(room);
            }
            modules.read_again();
            assert_eq!(modules.refused() > 0, is_refused, "{room:?}");
        }
    }

    #[test]
    fn unloaded_code_keeps_its_name_until_its_place_is_taken() {
        let old = b"1000-2000 r-xp 00000000 08:01 7 /lib/plugin.so\n2000-3000 rw-p 00001000 08:01 7 /lib/plugin.so\n\
            4000-5000 r-xp 00000000 08:01 8 /lib/other.so\n8000-9000 r-xp 00000000 08:01 9 /bin/program\n";
        let new = b"4800-4900 rw-p 00000000 00:00 0 \n8000-9000 r-xp 00000000 08:01 9 /bin/program\n";
        let merged = with_unloaded(old, new);
        let names: Vec<_> =
            maps::parse(&merged).map(|mapping| String::from_utf8_lossy(mapping.name).into_owned()).collect();
        assert_eq!(names, ["", "/bin/program", "/lib/plugin.so"]);
        assert_eq!(with_unloaded(&merged, new), merged, "it is remembered once");
    }
}
