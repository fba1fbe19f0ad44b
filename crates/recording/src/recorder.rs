//! Beats appended to a recording.
//!
//! Owns: when a log starts and ends, what happens when a write fails, the sealing of logs, how long segments are kept.
//! Must not know: where beats come from, or how they are encoded.
//!
//! `append` does one write, waits for the sync of the beat before (which had the time between two beats) and begins its own; it
//! never seals unless `maintain` was forgotten for long. Whoever records calls `maintain` when there is time until the next beat.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Beat, Event};

use crate::block;
use crate::names::SegmentName;
use crate::segments::{self, Segments};
use crate::store::{Directory, LOCK, Lock, Output, Store};
use crate::versions::v1::log::Encoder;
use crate::versions::v1::sealed::{self, Sealed};
use crate::versions::{self, Kind};
use crate::{Error, limits};

/// How to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Wait for the medium after so many beats: 1 loses at most one beat with the power; 0 never waits, which leaves it to the
    /// kernel (about half a minute). A killed recorder loses nothing either way.
    pub sync_every: u32,
    /// The oldest segments are removed while all together have more bytes.
    pub bytes_max: Option<u64>,
    /// Segments are removed when their last beat is older.
    pub age_max: Option<Duration>,
    /// A log is closed and can be sealed after this time: what a reader must turn into columns itself, and the step in which old
    /// beats are removed.
    pub segment_every: Duration,
    /// Seal on a thread of its own, so that no sample waits for it: a log of 5,000 processes takes most of a second. Without, `maintain`
    /// is done when it returns.
    pub in_background: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_every: 1,
            bytes_max: None,
            age_max: None,
            segment_every: Duration::from_secs(4 * 3600),
            in_background: true,
        }
    }
}

/// What [`Recorder::maintain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Logs that were sealed.
    pub sealed: u32,
    /// Segments that were removed for their age or for the size of all.
    pub removed: u32,
    /// Bytes of all segments now.
    pub bytes: u64,
}

/// The only writer of a recording.
#[derive(Debug)]
pub struct Recorder {
    store: Box<dyn Store>,
    options: Options,
    log: Option<Log>,
    /// The number of the next log.
    next: u64,
    /// Closed logs that are not sealed yet, oldest first.
    waiting: Vec<u64>,
    /// Logs that could not be sealed, mostly for lack of space; tried again when the next log is closed.
    failed: Vec<u64>,
    /// The log that a thread is turning into columns now.
    sealing: Option<Sealing>,
    /// Sealed segments, oldest first.
    kept: Vec<Kept>,
    /// What could not be recorded since the last beat that could.
    lost: Option<(u64, String)>,
    /// Wall and boot time of the first beat that was appended, and of the last, in microseconds.
    first: Option<(u64, u64)>,
    last: (u64, u64),
}

/// The log that beats are appended to.
#[derive(Debug)]
struct Log {
    number: u64,
    output: Box<dyn Output>,
    encoder: Encoder,
    /// Length of all that was written whole.
    bytes: u64,
    beats: u64,
    /// Whether the next block must be a key frame.
    key: bool,
    started_us: u64,
    unsynced: u32,
    /// Bytes and beats of it that are known to be on the medium.
    safe: (u64, u64),
    /// Beats that were taken back, since the medium refused them after all.
    doubtful: u64,
}

/// A log on its way to columns; the thread is given bytes and a file, and knows no place.
#[derive(Debug)]
struct Sealing {
    number: u64,
    thread: JoinHandle<std::io::Result<Option<u64>>>,
}

/// A sealed segment.
#[derive(Clone, Copy, Debug)]
struct Kept {
    number: u64,
    bytes: u64,
    /// Wall time of its latest beat, in microseconds.
    wall_us: u64,
}

impl Recorder {
    /// Starts or continues the recording in a directory, which is created where there is none.
    pub fn open(directory: &Path, options: Options) -> Result<Self, Error> {
        Self::open_in(Box::new(Directory::new(directory)), options)
    }

    /// Starts or continues a recording in any storage.
    pub fn open_in(mut store: Box<dyn Store>, options: Options) -> Result<Self, Error> {
        refuse_foreign(&*store)?;
        match store.lock().map_err(|error| Error::io(format!("record into {}", store.place()), &error))? {
            Lock::Ours => {}
            Lock::Theirs(recorder) => return Err(Error::InUse { place: store.place(), recorder }),
        }
        let segments = segments::list(&*store)?;
        segments::check_versions(&*store, &segments)?;
        let next = segments.all.last().map_or(1, |name| name.number.saturating_add(1));
        let (kept, waiting) = take_stock(&*store, &segments);
        Ok(Self {
            store,
            options,
            log: None,
            next,
            waiting,
            failed: Vec::new(),
            sealing: None,
            kept,
            lost: None,
            first: None,
            last: (0, 0),
        })
    }

    /// Appends a beat. After an error the recorder can go on: the next beat that can be written says what was lost.
    pub fn append(&mut self, beat: &Beat) -> Result<(), Error> {
        let appended = self.try_append(beat);
        match &appended {
            Ok(()) => self.lost = None,
            Err(error) => {
                let beats = self.lost.as_ref().map_or(0, |(beats, _)| *beats) + 1;
                self.lost = Some((beats, error.to_string()));
            }
        }
        appended
    }

    fn try_append(&mut self, beat: &Beat) -> Result<(), Error> {
        let now = (beat.at.wall_ns / 1000, beat.at.boot_ns / 1000);
        if self.log.as_ref().is_some_and(|log| log.output.is_gone()) {
            self.restore()?;
        }
        if self.log.as_ref().is_some_and(|log| log.is_full(beat, self.options.segment_every)) {
            self.close();
        }
        let lost = self.lost.clone().map(|(beats, reason)| Event::NotRecorded { beats, reason });
        let more: Vec<Event> = lost.into_iter().collect();
        let sync_every = self.options.sync_every;
        let log = match &mut self.log {
            Some(log) => log,
            None => self.start(Arc::clone(&beat.at.boot_id), now.1)?,
        };
        let number = log.number;
        let settled = log.settle();
        let written = settled.and_then(|()| log.write(beat, &more, sync_every));
        let doubtful = std::mem::take(&mut log.doubtful);
        if let Err(error) = written {
            if doubtful > 0 {
                let before = self.lost.as_ref().map_or(0, |(beats, _)| *beats);
                self.lost = Some((before + doubtful, error.to_string()));
            }
            self.recover();
            return Err(Error::io(format!("write {}", SegmentName::log(number).file()), &error));
        }
        self.first.get_or_insert(now);
        self.last = now;
        if self.waiting.len() > limits::LOGS_WAITING {
            // Nobody calls `maintain`; its errors would only repeat at each beat, and the logs are readable as they are.
            let _ = self.maintain();
        }
        Ok(())
    }

    /// Starts a new log.
    fn start(&mut self, boot_id: Arc<str>, now_us: u64) -> Result<&mut Log, Error> {
        let number = self.next;
        let name = SegmentName::log(number).file();
        let failed = |error: &_| Error::io(format!("create {name} in the recording"), error);
        let mut output = match self.store.create(&name) {
            // The directory is gone though no log was open: make it anew, and keep others out of it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.lock_again()?;
                self.store.create(&name)
            }
            created => created,
        }
        .map_err(|error| failed(&error))?;
        // The number is taken even where the head cannot be written, so that no file is ever written over.
        self.next += 1;
        let head = versions::head(Kind::Log);
        if let Err(error) = output.write(&head) {
            let _ = self.store.remove(&name);
            return Err(failed(&error));
        }
        let encoder = Encoder::new(boot_id);
        let bytes = head.len() as u64;
        let (safe, started_us) = ((bytes, 0), now_us);
        let log =
            Log { number, output, encoder, bytes, beats: 0, key: true, started_us, unsynced: 0, safe, doubtful: 0 };
        Ok(self.log.insert(log))
    }

    /// After a write that failed: cuts what was half written, or gives the log up where even that fails.
    fn recover(&mut self) {
        let Some(log) = &mut self.log else { return };
        log.key = true;
        if log.output.cut(log.bytes).is_err() {
            self.close();
        }
    }

    /// The directory was deleted under us: what it had is lost, and all starts anew in the same place.
    fn restore(&mut self) -> Result<(), Error> {
        let beats = self.log.take().map_or(0, |log| log.beats);
        self.waiting.clear();
        self.failed.clear();
        self.sealing = None;
        self.kept.clear();
        let (more, _) = self.lost.take().unwrap_or_default();
        self.lost = Some((beats + more, "the recording was deleted while it was written".to_owned()));
        self.lock_again()
    }

    fn lock_again(&mut self) -> Result<(), Error> {
        match self.store.lock().map_err(|error| Error::io(format!("create {}", self.store.place()), &error))? {
            Lock::Ours => Ok(()),
            Lock::Theirs(recorder) => Err(Error::InUse { place: self.store.place(), recorder }),
        }
    }

    /// Ends the log, which waits to be sealed then.
    fn close(&mut self) {
        if let Some(mut log) = self.log.take() {
            // A sync that fails loses nothing that was not lost already; sealing reads the log again and tells.
            let _ = log.output.sync();
            self.waiting.append(&mut self.failed);
            self.waiting.push(log.number);
        }
    }

    /// Seals closed logs, one after the other, and removes what is too old or too much. Returns at once; call it between beats.
    pub fn maintain(&mut self) -> Result<Maintained, Error> {
        let mut done = Maintained::default();
        if self.sealing.as_ref().is_some_and(|sealing| sealing.thread.is_finished()) {
            done.sealed = self.finish_sealing()?;
        }
        if self.sealing.is_none() && !self.waiting.is_empty() {
            self.start_sealing()?;
            done.sealed += if self.options.in_background { 0 } else { self.finish_sealing()? };
        }
        while self.is_too_much() {
            let oldest = self.kept.remove(0);
            let name = SegmentName::sealed(oldest.number).file();
            self.store.remove(&name).map_err(|error| Error::io(format!("remove {name}"), &error))?;
            done.removed += 1;
        }
        done.bytes = self.bytes();
        Ok(done)
    }

    /// Hands the oldest closed log to a thread.
    fn start_sealing(&mut self) -> Result<(), Error> {
        // Taken off first: a log that cannot be sealed stays a log and must not stop the others for ever.
        let number = self.waiting.remove(0);
        let log = SegmentName::log(number).file();
        let bytes = match segments::read(&*self.store, &log) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(format!("read {log}"), &error)),
        };
        let name = SegmentName::sealed(number).file();
        // One that was left half written is of no use: the log is still there.
        let _ = self.store.remove(&name);
        let output = self.store.create(&name).map_err(|error| {
            self.failed.push(number);
            Error::io(format!("seal {log}"), &error)
        })?;
        let named = std::thread::Builder::new().name("seal".to_owned());
        let thread =
            named.spawn(move || to_columns(bytes, output)).map_err(|error| Error::io("start a thread", &error))?;
        self.sealing = Some(Sealing { number, thread });
        Ok(())
    }

    /// Takes what the thread made in place of the log, once it is done; how many logs were sealed.
    fn finish_sealing(&mut self) -> Result<u32, Error> {
        let Some(Sealing { number, thread }) = self.sealing.take() else { return Ok(0) };
        let name = SegmentName::sealed(number).file();
        let bytes = match thread.join() {
            Ok(Ok(Some(bytes))) => bytes,
            // A log without a beat stays as it is; so does one on which the thread failed.
            Ok(Ok(None)) | Err(_) => {
                let _ = self.store.remove(&name);
                return Ok(0);
            }
            Ok(Err(error)) => {
                let _ = self.store.remove(&name);
                self.failed.push(number);
                return Err(Error::io(format!("seal {}", SegmentName::log(number).file()), &error));
            }
        };
        let kept = keep(&mut *self.store, number, bytes).inspect_err(|_| self.failed.push(number))?;
        let Some(kept) = kept else { return Ok(0) };
        let position = self.kept.partition_point(|other| other.number < number);
        self.kept.insert(position, kept);
        Ok(1)
    }

    /// Bytes of the sealed segments and of the log that is written.
    pub fn bytes(&self) -> u64 {
        let kept: u64 = self.kept.iter().map(|kept| kept.bytes).sum();
        kept + self.log.as_ref().map_or(0, |log| log.bytes)
    }

    /// Whether the oldest segment must go.
    fn is_too_much(&self) -> bool {
        let Some(oldest) = self.kept.first() else { return false };
        if self.options.bytes_max.is_some_and(|max| self.bytes() > max) {
            return true;
        }
        let (wall, boot) = self.last;
        let age_max = self.options.age_max.map(|age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        // A wall clock that jumped a year ahead must not empty the recording: the boot clock has to agree since the start.
        let progress = self.first.map(|first| (wall.abs_diff(first.0), boot.saturating_sub(first.1)));
        let is_trusted = progress.is_some_and(|(wall, boot)| wall.abs_diff(boot) < limits::CLOCK_TRUST_US);
        is_trusted && age_max.is_some_and(|max| oldest.wall_us < wall.saturating_sub(max))
    }

    /// Ends the recording in order: everything is sealed and on the medium.
    pub fn seal(mut self) -> Result<(), Error> {
        self.close();
        self.options.in_background = false;
        self.finish_sealing()?;
        while !self.waiting.is_empty() {
            self.maintain()?;
        }
        Ok(())
    }
}

impl Log {
    fn is_full(&self, beat: &Beat, segment_every: Duration) -> bool {
        let age_us = (beat.at.boot_ns / 1000).saturating_sub(self.started_us);
        self.bytes >= limits::LOG_BYTES
            || self.beats >= limits::LOG_BEATS
            || self.encoder.births() >= limits::LOG_BIRTHS
            || u128::from(age_us) >= segment_every.as_micros()
            || *self.encoder.boot_id() != *beat.at.boot_id
    }

    /// Waits for the sync that the beat before began: a power loss takes one beat at most. What the medium refused is taken back.
    fn settle(&mut self) -> std::io::Result<()> {
        let synced = self.output.synced();
        if synced.is_err() {
            self.doubtful = self.beats - self.safe.1;
            (self.bytes, self.beats) = self.safe;
        } else if self.unsynced == 0 {
            self.safe = (self.bytes, self.beats);
        }
        synced
    }

    fn write(&mut self, beat: &Beat, more: &[Event], sync_every: u32) -> std::io::Result<()> {
        let key = self.key || self.beats.is_multiple_of(limits::KEY_EVERY);
        let (kind, payload) = self.encoder.encode(beat, more, key);
        let mut framed = Vec::with_capacity(payload.len() + block::HEAD);
        block::put(&mut framed, kind, payload, limits::COMPRESS_FROM);
        self.output.write(&framed)?;
        self.unsynced += 1;
        if sync_every != 0 && self.unsynced >= sync_every {
            self.unsynced = 0;
            self.output.start_sync()?;
        }
        // Counted only now: what did not reach the medium is cut again and said to be lost, not both kept and lost.
        self.bytes += framed.len() as u64;
        self.beats += 1;
        self.key = false;
        Ok(())
    }
}

/// Other files in a place where nothing was recorded yet: most likely it was mistyped.
fn refuse_foreign(store: &dyn Store) -> Result<(), Error> {
    // A place that cannot be listed is refused by the lock, with the reason.
    let Ok(entries) = store.list() else { return Ok(()) };
    let is_ours = |name: &str| name == LOCK || SegmentName::parse(name).is_some();
    if entries.iter().any(|entry| is_ours(&entry.name)) {
        return Ok(());
    }
    match entries.into_iter().next() {
        Some(entry) => Err(Error::NotEmpty { place: store.place(), found: entry.name }),
        None => Ok(()),
    }
}

/// What an earlier recorder left: sealed segments, and logs that it had no time to seal.
fn take_stock(store: &dyn Store, segments: &Segments) -> (Vec<Kept>, Vec<u64>) {
    let (mut kept, mut waiting) = (Vec::new(), Vec::new());
    for name in &segments.all {
        let sealed = name.sealed.then(|| segments::open_sealed(store, *name).ok()).flatten();
        match sealed {
            Some(sealed) => {
                kept.push(Kept { number: name.number, bytes: segments.bytes(*name), wall_us: sealed.meta.wall.1 });
            }
            // A segment whose index is damaged is kept like any other, by its size alone.
            None if name.sealed => {
                kept.push(Kept { number: name.number, bytes: segments.bytes(*name), wall_us: u64::MAX });
            }
            None => waiting.push(name.number),
        }
    }
    (kept, waiting)
}

/// Writes the sealed form of a log and waits until it is safe; gives its length, none where the log has no beat.
fn to_columns(log: Vec<u8>, mut output: Box<dyn Output>) -> std::io::Result<Option<u64>> {
    let Some(sealed) = sealed::seal_log(log.get(versions::HEAD..).unwrap_or_default()) else { return Ok(None) };
    drop(log);
    output.write(&sealed)?;
    output.sync()?;
    Ok(Some(sealed.len() as u64))
}

/// Removes the log of a sealed segment that can be read back; else none, and the log stays.
fn keep(store: &mut dyn Store, number: u64, bytes: u64) -> Result<Option<Kept>, Error> {
    let (log, name) = (SegmentName::log(number).file(), SegmentName::sealed(number).file());
    let failed = |error: &std::io::Error| Error::io(format!("seal {log}"), error);
    let opened = Sealed::open(store.open(&name).map_err(|error| failed(&error))?);
    let Ok(wall_us) = opened.map(|sealed| sealed.meta.wall.1) else { return Ok(None) };
    store.remove(&log).map_err(|error| failed(&error))?;
    Ok(Some(Kept { number, bytes, wall_us }))
}
