//! `leakline remote`: the same program on other machines, over ssh.
//!
//! Owns: what is done on a host, in which order, and the overview of several. Must not know: how ssh is called, or how files
//! are fetched. Nothing is needed on a host but a shell with `cat`, `mkdir`, `chmod`, `mv` and `rm`: everything else is done by the one
//! program that is copied there.

pub(crate) mod ship;
mod ssh;

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use report::Outcome;

use self::ssh::{Ended, Ssh, quoted};
use crate::failure::{Failure, both};
use crate::flags::{Action, Given, Remote, Ship};
use crate::limits::{HOSTS_AT_ONCE, HOSTS_MAX};
use crate::output::Output;
use crate::{place, values};

/// Does it on all hosts, some at once; 2 where one fails.
pub(crate) fn run(flags: &Remote) -> Result<Outcome, Failure> {
    let mut output = Output::new(false);
    let hosts = hosts(flags)?;
    let far = |host: &String| Far {
        ssh: Ssh { host: host.clone(), config: flags.ssh_config.clone() },
        directory: flags.remote_dir.clone(),
        flags,
    };
    if let Action::Attach(given) | Action::Hunt(given) = &flags.action {
        let [host] = hosts.as_slice() else {
            return Err(Failure::with_hint("one screen shows one host", "name one host only".to_owned()));
        };
        return far(host).show(&flags.action, given, &mut output);
    }
    let program = Program::read(flags)?;
    let mut outcome = Outcome::NothingFound;
    let mut failed = None;
    for some in hosts.chunks(HOSTS_AT_ONCE) {
        output.progress(|_| format!("asking {}", some.join(", ")));
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> =
                some.iter().map(|host| scope.spawn(|| far(host).act(&program, hosts.len() == 1))).collect();
            asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for (host, answer) in some.iter().zip(answers) {
            let answer = answer.unwrap_or_else(|_| Err(Failure::with_hint(format!("{host}: a bug in leakline"), None)));
            match answer {
                Ok(text) => output.write_bytes(shown(host, &text, hosts.len()).as_bytes())?,
                Err(failure) if hosts.len() == 1 => return Err(failure),
                Err(failure) => {
                    if let Failure::Refused { text, .. } = &failure {
                        output.say(&format!("error: {text}"));
                    }
                    outcome = both(outcome, Outcome::CouldNotJudge);
                    failed = Some(failure);
                }
            }
        }
    }
    debug_assert!(failed.is_none() || outcome == Outcome::CouldNotJudge, "a failure is not forgotten");
    Ok(outcome)
}

/// The far end of `download`: answers on standard output what the other end, on standard input, does not have.
pub(crate) fn ship(flags: &Ship) -> Result<Outcome, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    ship::send(&flags.directory, &mut io::stdin().lock(), &mut out)
        .map_err(|error| Failure::with_hint(format!("{} cannot be sent: {error}", flags.directory.display()), None))?;
    Ok(Outcome::NothingFound)
}

/// The program that is copied, and a name for its content.
#[derive(Debug)]
struct Program {
    path: PathBuf,
    id: String,
}

/// One host.
#[derive(Debug)]
struct Far<'a> {
    ssh: Ssh,
    directory: String,
    flags: &'a Remote,
}

impl Program {
    fn read(flags: &Remote) -> Result<Self, Failure> {
        let path = match &flags.program {
            Some(path) => path.clone(),
            None => PathBuf::from("/proc/self/exe"),
        };
        let failed = |error| Failure::with_hint(format!("{} cannot be read: {error}", path.display()), None);
        let mut hasher = DefaultHasher::new();
        let mut file = File::open(&path).map_err(failed)?;
        let mut part = vec![0; 1 << 16];
        loop {
            match file.read(&mut part).map_err(failed)? {
                0 => break,
                length => hasher.write(part.get(..length).unwrap_or_default()),
            }
        }
        Ok(Self { id: format!("{:016x}", hasher.finish()), path })
    }
}

impl Far<'_> {
    /// Does what is asked for; gives what is to be shown of it.
    fn act(&self, program: &Program, alone: bool) -> Result<String, Failure> {
        match &self.flags.action {
            Action::Start(given) => self.start(program, given),
            Action::Peek => self.peek(alone),
            Action::Stop => self.leakline("stop", &[], &[0]).map(|ended| said(&ended)),
            Action::Download => self.download(),
            Action::Clean => self.clean(),
            Action::Attach(_) | Action::Hunt(_) => Err(self.ssh.failure("one screen shows one host")),
        }
    }

    fn start(&self, program: &Program, given: &Given) -> Result<String, Failure> {
        self.install(program)?;
        let mut options: Vec<OsString> = vec!["--background".into(), "-o".into(), self.recording().into()];
        options.extend(given.options.iter().cloned());
        self.program("record", &options, &[0]).map(|ended| said(&ended))
    }

    /// Copies the program unless it is there. Under another name first: one that was cut off in the middle is never run.
    fn install(&self, program: &Program) -> Result<(), Failure> {
        let directory = self.quoted();
        let asked = self.sh(&format!("cat {directory}/leakline.id 2>/dev/null"), &mut io::empty())?;
        if asked.output.trim() == program.id {
            return Ok(());
        }
        let mut file = File::open(&program.path)
            .map_err(|error| Failure::with_hint(format!("{} cannot be read: {error}", program.path.display()), None))?;
        let id = &program.id;
        let command = format!(
            "umask 077; mkdir -p {directory} && cat > {directory}/leakline.new && chmod 700 {directory}/leakline.new && \
             {directory}/leakline.new --version >/dev/null && mv {directory}/leakline.new {directory}/leakline && \
             echo {id} > {directory}/leakline.id || {{ rm -f {directory}/leakline.new; exit 1; }}"
        );
        let ended = self.sh(&command, &mut file)?;
        if ended.code == 0 {
            return Ok(());
        }
        let hint = "the host needs room in its home (or --remote-dir), the same processor, and a libc as new as the one here: \
                    else name a static build with --program FILE";
        let text = format!("{}: leakline cannot be copied there: {}", self.ssh.host, last_line(&ended.errors));
        Err(Failure::with_hint(text, hint.to_owned()))
    }

    fn peek(&self, alone: bool) -> Result<String, Failure> {
        let mut text = self.leakline("status", &[], &[0, 2]).map(|ended| said(&ended))?;
        if alone {
            text.push('\n');
            text.push_str(&self.leakline("report", &["--top".into(), "5".into()], &[0, 1]).map(|ended| said(&ended))?);
        }
        Ok(text)
    }

    fn download(&self) -> Result<String, Failure> {
        let here = place::data_dir(self.flags.place.data_dir.as_deref())?.join(place::host_directory(&self.ssh.host));
        let failed = |error: io::Error| self.ssh.failure(&format!("{}: {error}", here.display()));
        let had = ship::have(&here).map_err(failed)?;
        let command = self.command("ship", &[self.recording().into()]);
        let (fetched, ended) =
            self.ssh.stream(&command, &mut had.as_bytes(), |answer| Ok(ship::receive(&here, answer)))?;
        if ended.code != 0 {
            return Err(self.refused("ship", &ended));
        }
        let fetched = fetched.map_err(failed)?;
        Ok(format!("{} files, {} fetched into {}\n", fetched.files, model::Bytes(fetched.bytes), here.display()))
    }

    fn clean(&self) -> Result<String, Failure> {
        // It need not be at work, and there need not be a recording.
        self.leakline("stop", &[], &[0, 2])?;
        self.leakline("clean", &["--yes".into()], &[0, 2])?;
        let directory = self.quoted();
        let command = format!(
            "cd && rm -f {directory}/leakline {directory}/leakline.id {directory}/leakline.new && {{ test ! -d {directory} || rmdir {directory}; }}"
        );
        let ended = self.sh(&command, &mut io::empty())?;
        if ended.code != 0 {
            return Err(self.refused("clean", &ended));
        }
        Ok("nothing of leakline is left\n".to_owned())
    }

    /// Runs a command of leakline there on this terminal.
    fn show(&self, action: &Action, given: &Given, output: &mut Output) -> Result<Outcome, Failure> {
        output.progress(|_| format!("asking {}", self.ssh.host));
        self.install(&Program::read(self.flags)?)?;
        output.progress(|_| String::new());
        let name = if matches!(action, Action::Attach(_)) { "attach" } else { "hunt" };
        let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        match self.ssh.show(&self.command(name, &given.options), terminal)? {
            0 => Ok(Outcome::NothingFound),
            1 => Ok(Outcome::LeakFound),
            _ => Ok(Outcome::CouldNotJudge),
        }
    }

    /// Runs a command of leakline there on the recording.
    fn leakline(&self, name: &str, options: &[OsString], codes: &[u8]) -> Result<Ended, Failure> {
        let mut all: Vec<OsString> = vec![self.recording().into()];
        all.extend(options.iter().cloned());
        self.program(name, &all, codes)
    }

    fn program(&self, name: &str, options: &[OsString], codes: &[u8]) -> Result<Ended, Failure> {
        let ended = self.ssh.run(&self.command(name, options), &mut io::empty())?;
        if codes.contains(&ended.code) { Ok(ended) } else { Err(self.refused(name, &ended)) }
    }

    /// The command line for the other end; the hint of a program that is not there is given by [`Self::refused`].
    fn command(&self, name: &str, options: &[OsString]) -> String {
        debug_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "a name of ours");
        format!("cd && exec {}/leakline {name}{}", self.quoted(), quoted(options))
    }

    fn sh(&self, command: &str, input: &mut dyn Read) -> Result<Ended, Failure> {
        self.ssh.run(&format!("cd && exec sh -c{}", quoted([&OsString::from(command)])), input)
    }

    fn refused(&self, name: &str, ended: &Ended) -> Failure {
        let host = &self.ssh.host;
        if matches!(ended.code, 126 | 127) {
            let text = format!("{host}: leakline is not there");
            return Failure::with_hint(
                text,
                format!("`leakline remote {host} start` copies it there and starts to record"),
            );
        }
        let line = |mark: &str| ended.errors.lines().find_map(|line| line.strip_prefix(mark)).map(str::to_owned);
        let text = line("error: ").unwrap_or_else(|| last_line(&ended.errors).to_owned());
        let text = if text.is_empty() { format!("leakline {name} ended there with {}", ended.code) } else { text };
        Failure::with_hint(format!("{host}: {text}"), line("hint: "))
    }

    fn recording(&self) -> String {
        format!("{}/recording", self.directory)
    }

    fn quoted(&self) -> String {
        quoted([&OsString::from(&self.directory)]).trim_start().to_owned()
    }
}

/// All that a command said there, both streams; a recorder says on the second where it records.
fn said(ended: &Ended) -> String {
    format!("{}{}", ended.output, ended.errors)
}

fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

/// An answer as it is shown: made safe, and under the name of its host where there are several.
fn shown(host: &str, text: &str, hosts: usize) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let line = model::escaped(line.as_bytes());
        if hosts > 1 {
            shown.push_str(host);
            shown.push_str(": ");
        }
        shown.push_str(&line);
        shown.push('\n');
    }
    shown
}

fn hosts(flags: &Remote) -> Result<Vec<String>, Failure> {
    let mut hosts = flags.hosts.clone();
    if let Some(file) = &flags.hosts_file {
        let failed = |text: String| Failure::with_hint(format!("{}: {text}", file.display()), None);
        let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        for (number, line) in text.lines().enumerate() {
            let name = line.split('#').next().unwrap_or_default().trim();
            if !name.is_empty() {
                hosts.push(values::host(name).map_err(|error| failed(format!("line {}: {error}", number + 1)))?);
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    match hosts.len() {
        0 => {
            Err(Failure::with_hint("no host is named", "`leakline remote HOST start`, or --hosts-file FILE".to_owned()))
        }
        count if count > HOSTS_MAX => {
            Err(Failure::with_hint(format!("{count} hosts; at most {HOSTS_MAX} are possible"), None))
        }
        _ => Ok(hosts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_safe_and_named() {
        assert_eq!(shown("a", "one\n\x1b[31mtwo\n", 1), "one\n\\x1b[31mtwo\n");
        assert_eq!(shown("a", "one\ntwo", 2), "a: one\na: two\n");
    }

    #[test]
    fn the_last_line_that_says_something() {
        assert_eq!(last_line("a\nb\n\n"), "b");
        assert_eq!(last_line(""), "");
    }
}
