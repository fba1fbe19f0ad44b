//! A file that is written at its end, and the waiting until it is on the medium.
//!
//! Owns: the thread that waits, so that whoever samples need not. Must not know: what is in a file.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::Advice;

use crate::store::Output;

/// A file that was just created.
#[derive(Debug)]
pub(crate) struct Written {
    medium: Arc<Medium>,
    syncing: Option<Syncing>,
}

#[derive(Debug)]
struct Medium {
    file: File,
    /// The folder, until the name of the file is safe there: a power loss could forget the name of a file whose content is safe.
    place: Mutex<Option<PathBuf>>,
}

/// The thread that waits; it ends when nobody can ask it any more.
#[derive(Debug)]
struct Syncing {
    ask: SyncSender<()>,
    answers: Receiver<io::Result<()>>,
    /// Whether an answer is outstanding.
    asked: bool,
}

impl Written {
    pub(crate) fn new(file: File, place: PathBuf) -> Self {
        Self { medium: Arc::new(Medium { file, place: Mutex::new(Some(place)) }), syncing: None }
    }
}

impl Output for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&self.medium.file).write_all(bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.medium.file.set_len(length)?;
        (&self.medium.file).seek(io::SeekFrom::Start(length)).map(|_| ())
    }

    fn sync(&mut self) -> io::Result<()> {
        let before = self.synced();
        self.medium.sync().and(before)
    }

    fn start_sync(&mut self) -> io::Result<()> {
        self.synced()?;
        if self.syncing.is_none() {
            self.syncing = Syncing::start(&self.medium).ok();
        }
        match &mut self.syncing {
            Some(syncing) if syncing.ask.send(()).is_ok() => syncing.asked = true,
            // Without a thread it takes longer and is as safe.
            _ => self.medium.sync()?,
        }
        Ok(())
    }

    fn synced(&mut self) -> io::Result<()> {
        match &mut self.syncing {
            Some(syncing) if syncing.asked => {
                syncing.asked = false;
                syncing.answers.recv().unwrap_or_else(|_| self.medium.sync())
            }
            _ => Ok(()),
        }
    }

    fn is_gone(&self) -> bool {
        self.medium.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

impl Medium {
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        // Best effort: that the kernel keeps the pages longer does no harm beyond their size.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = place.as_deref() {
            File::open(folder)?.sync_all()?;
            *place = None;
        }
        Ok(())
    }
}

impl Syncing {
    fn start(medium: &Arc<Medium>) -> io::Result<Self> {
        let (ask, asked) = sync_channel::<()>(1);
        let (answer, answers) = sync_channel(1);
        let medium = Arc::clone(medium);
        let thread = move || {
            while asked.recv().is_ok() {
                if answer.send(medium.sync()).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("sync".to_owned()).spawn(thread)?;
        Ok(Self { ask, answers, asked: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_folder(name: &str, check: impl FnOnce(&std::path::Path, Written)) {
        let folder = std::env::temp_dir().join(format!("leakline-medium-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("it can be made");
        let path = folder.join("file");
        check(&path, Written::new(File::create(&path).expect("it can be made"), folder.clone()));
        std::fs::remove_dir_all(folder).expect("it is ours");
    }

    #[test]
    fn what_is_written_meanwhile_is_kept_and_each_start_has_one_answer() {
        in_folder("each", |path, mut output| {
            for number in 0..50_u8 {
                output.synced().expect("the medium is sound");
                output.write(&[number]).expect("it has room");
                output.start_sync().expect("it can be asked");
            }
            output.sync().expect("the medium is sound");
            assert_eq!(std::fs::read(path).expect("it is there"), (0..50).collect::<Vec<u8>>());
            assert!(output.medium.place.lock().unwrap().is_none(), "its name is safe too");
        });
    }

    #[test]
    fn a_medium_that_fails_says_so_once_asked_for() {
        in_folder("fails", |_, _| {
            // A pipe cannot be synced.
            let (_reader, writer) = std::io::pipe().expect("a pipe");
            let mut output = Written::new(File::from(std::os::fd::OwnedFd::from(writer)), PathBuf::from("/"));
            output.start_sync().expect("it can be asked");
            assert!(output.synced().is_err());
            assert!(output.synced().is_ok(), "told once");
            assert!(output.sync().is_err());
        });
    }

    #[test]
    fn what_is_cut_goes_on_at_the_cut() {
        in_folder("cut", |path, mut output| {
            output.write(b"one two").expect("it has room");
            output.cut(3).expect("it can be cut");
            output.write(b"!").expect("it has room");
            assert_eq!(std::fs::read(path).expect("it is there"), b"one!");
            assert!(!output.is_gone());
            std::fs::remove_file(path).expect("it is there");
            assert!(output.is_gone());
        });
    }
}
