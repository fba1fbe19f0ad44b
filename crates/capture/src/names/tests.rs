//! Names of running programs: with their file, deleted, stripped with the debug file elsewhere, ended.
#![expect(clippy::disallowed_methods, reason = "the targets of these tests are other programs")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU32;

use super::*;

const SOURCE: &str = r#"
#include <stdio.h>
static void *seen;
__attribute__((noinline)) void *leaf(void) { return __builtin_return_address(0); }
static inline __attribute__((always_inline)) void middle(void) {
    seen = leaf();
}
__attribute__((noinline)) void site(void) {
    middle();
    seen = (char *)seen + 0;
}
int main(void) { site(); printf("%p\n", seen); fflush(stdout); getchar(); return 0; }
"#;

/// What a target with its full debug information is called, by us, innermost first.
const FULL: &str = "middle (inlined) target.c:6 | site target.c:9";

/// A program that printed a return address in `site` and waits; its files go away with it.
struct Target {
    folder: PathBuf,
    path: PathBuf,
    child: Child,
    address: Address,
    map: Arc<ModuleMap>,
}

impl Target {
    /// `steps` are commands to run between building and starting; `%` stands for the program.
    #[track_caller]
    fn start(flags: &str, steps: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("leakline-names-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("target");
        std::fs::write(folder.join("target.c"), SOURCE).unwrap();
        execute("gcc", &format!("-O2 -Wl,--build-id {flags} %.c -o %"), &path);
        for step in steps {
            let (program, arguments) = step.split_once(' ').unwrap();
            execute(program, arguments, &path);
        }
        let mut child = Command::new(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = Address(u64::from_str_radix(line.trim().trim_start_matches("0x"), 16).unwrap());
        let maps = std::fs::read(format!("/proc/{}/maps", child.id())).unwrap();
        Self { folder, path, child, address, map: Arc::new(ModuleMap::parse(&maps)) }
    }

    fn options(&self) -> NameOptions {
        NameOptions { pid: Pid(self.child.id()), debug_dirs: Vec::new(), debug_files: Vec::new() }
    }

    /// The frames of the address as one line, and what the user is told.
    #[track_caller]
    fn named(&self, namer: &mut Namer) -> (String, Vec<String>) {
        let addresses = vec![(self.address, FrameTrust::Caller)];
        assert!(namer.request(StackId(7), addresses, Arc::clone(&self.map)));
        let all = namer.finish(Duration::from_secs(20));
        assert_eq!(all.len(), 1, "one stack was asked for");
        assert_eq!((all[0].0, namer.waiting()), (StackId(7), 0));
        (all[0].1.iter().map(shown).collect::<Vec<String>>().join(" | "), namer.remarks())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn execute(program: &str, arguments: &str, path: &Path) {
    let arguments = arguments.replace('%', path.to_str().unwrap());
    let done = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    assert!(done.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

fn shown(frame: &Frame) -> String {
    let function = frame.function.as_known().map_or("?", |function| &function.name);
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let line = frame
        .line
        .as_known()
        .map_or("?".to_owned(), |line| format!("{}:{}", line.file.rsplit('/').next().unwrap_or_default(), line.line));
    format!("{function}{inlined} {line}")
}

/// A target with these flags and steps, named with these changes to the options and after this happened to it.
#[track_caller]
fn check(
    (flags, steps): (&str, &[&str]),
    change: impl Fn(&Target, &mut NameOptions),
    then: impl Fn(&mut Target),
    expected: &str,
) -> Vec<String> {
    let mut target = Target::start(flags, steps);
    let mut options = target.options();
    change(&target, &mut options);
    let mut namer = Namer::start(options);
    then(&mut target);
    let (text, remarks) = target.named(&mut namer);
    assert_eq!(text, expected, "{remarks:?}");
    remarks
}

#[test]
fn calls_have_their_line_and_the_functions_inlined_there() {
    for flags in ["-g", "-g -no-pie", "-g -static", "-g -gz=zlib", "-g -gsplit-dwarf"] {
        check((flags, &[]), |_, _| {}, |_| {}, FULL);
    }
    check(("", &[]), |_, _| {}, |_| {}, "site ?");
    check(("-s", &[]), |_, _| {}, |_| {}, "? ?");
}

#[test]
fn names_come_after_the_target_ended_and_after_its_file_was_deleted() {
    let end = |target: &mut Target| {
        target.child.kill().unwrap();
        target.child.wait().unwrap();
    };
    check(("-g", &[]), |_, _| {}, end, FULL);
    let delete = |target: &mut Target| {
        std::fs::remove_file(&target.path).unwrap();
        let maps = std::fs::read(format!("/proc/{}/maps", target.child.id())).unwrap();
        target.map = Arc::new(ModuleMap::parse(&maps));
    };
    check(("-g", &[]), |_, _| {}, delete, FULL);
}

#[test]
fn a_file_that_took_the_place_of_the_mapped_one_gives_no_names() {
    let replace = |target: &mut Target| {
        std::fs::remove_file(&target.path).unwrap();
        execute("gcc", "-g -O0 -Wl,--build-id %.c -o %", &target.path);
        target.child.kill().unwrap();
        target.child.wait().unwrap();
    };
    let remarks = check(("-g", &[]), |_, _| {}, replace, "? ?");
    assert!(remarks.iter().any(|text| text.contains("cannot be read any more")), "{remarks:?}");
}

const SEPARATE: &[&str] = &["objcopy --only-keep-debug % %.debug", "strip %"];

#[test]
fn separate_debug_files_are_found_by_link_folder_and_name() {
    let linked = ["objcopy --only-keep-debug % %.debug", "strip %", "objcopy --add-gnu-debuglink=%.debug %"];
    check(("-g", &linked), |_, _| {}, |_| {}, FULL);
    check(("-g", SEPARATE), |_, _| {}, |_| {}, "? ?");
    check(("-g", SEPARATE), |target, options| options.debug_dirs.push(target.folder.clone()), |_| {}, FULL);
    let file =
        |target: &Target, options: &mut NameOptions| options.debug_files.push(target.path.with_extension("debug"));
    assert_eq!(check(("-g", SEPARATE), file, |_| {}, FULL), Vec::<String>::new());
}

#[test]
fn a_debug_file_of_another_build_is_refused_and_remarked() {
    let steps = ["objcopy --only-keep-debug % %.debug", "strip %", "gcc -g -O1 -Wl,--build-id %.c -o %.debug"];
    let both = |target: &Target, options: &mut NameOptions| {
        options.debug_dirs.push(target.folder.clone());
        options.debug_files.push(target.path.with_extension("debug"));
    };
    let remarks = check(("-g", &steps), both, |_| {}, "? ?");
    assert!(remarks.iter().any(|text| text.contains("target.debug: its build id")), "{remarks:?}");
}

#[test]
fn addresses_outside_of_all_modules_say_so() {
    let target = Target::start("-g", &[]);
    let mut namer = Namer::start(target.options());
    let addresses = vec![(Address(0x10), FrameTrust::FramePointer), (Address(0), FrameTrust::UnwindTable)];
    assert!(namer.request(StackId(1), addresses, Arc::clone(&target.map)));
    let all = namer.finish(Duration::from_secs(20));
    let trusts: Vec<FrameTrust> = all[0].1.iter().map(|frame| frame.trust).collect();
    assert_eq!(trusts, [FrameTrust::FramePointer, FrameTrust::UnwindTable]);
    assert!(all[0].1.iter().all(|frame| frame.module == model::Reading::Missing(model::Why::NotRecorded)));
}

#[test]
fn stacks_come_back_without_waiting_for_the_end() {
    let target = Target::start("-g", &[]);
    let namer = Namer::start(target.options());
    assert_eq!(namer.take(), Vec::new());
    for id in 0..100 {
        assert!(namer.request(StackId(id), vec![(target.address, FrameTrust::Caller); 3], Arc::clone(&target.map)));
    }
    let started = Instant::now();
    let mut ids = Vec::new();
    while ids.len() < 100 && started.elapsed() < Duration::from_secs(20) {
        ids.extend(namer.take().into_iter().map(|(id, frames)| (id, frames.len())));
        thread::sleep(Duration::from_millis(1));
    }
    let expected: Vec<(StackId, usize)> = (0..100).map(|id| (StackId(id), 6)).collect();
    assert_eq!(ids, expected, "in the order of the requests, two frames per address");
}

#[test]
fn a_target_that_never_was_gives_no_names_and_no_harm() {
    let target = Target::start("-g", &[]);
    let options = NameOptions { pid: Pid(u32::MAX), ..target.options() };
    let (named, _) = target.named(&mut Namer::start(options));
    assert_eq!(named, FULL, "the paths of the map are still ours to read");
}
