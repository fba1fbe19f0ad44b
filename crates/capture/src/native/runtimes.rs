//! Languages whose runtime keeps a heap of its own, which no `malloc` makes.
//!
//! Owns: recognising them by their files, and which tool looks into such a heap. Must not know: hooks.
//!
//! Such a program may have a C library and be attached to; what is seen then is what its C code allocates, which must be said.

use model::Pid;
use stacks::module::has_section;

/// A section that only its linker writes.
const GO_SECTIONS: [&str; 2] = [".go.buildinfo", ".note.go.buildid"];

/// Beginnings of file names, the language, and what looks into its heap.
const FILES: [(&str, &str, &str); 4] = [
    ("libjvm.so", "Java", "`jcmd PID GC.class_histogram`"),
    ("libcoreclr.so", ".NET", "`dotnet-gcdump collect -p PID`"),
    ("libnode.so", "JavaScript", NODE_TOOL),
    ("node", "JavaScript", NODE_TOOL),
];
const NODE_TOOL: &str = "`kill -USR1 PID` and chrome://inspect";
const GO_TOOL: &str = "`go tool pprof http://HOST:PORT/debug/pprof/heap`, where the program imports net/http/pprof,";

/// A heap of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Runtime {
    language: &'static str,
    tool: &'static str,
}

impl Runtime {
    /// The one whose code this file is, as far as its name and its sections tell.
    pub(crate) fn of(path: &str, elf: &[u8]) -> Option<Self> {
        if GO_SECTIONS.iter().any(|section| has_section(elf, section)) {
            return Some(Self { language: "Go", tool: GO_TOOL });
        }
        let name = path.rsplit('/').next()?;
        // `node` alone, or with a version behind it.
        let is_it = |start: &str| name.strip_prefix(start).is_some_and(|rest| !rest.starts_with(char::is_alphabetic));
        let (_, language, tool) = FILES.iter().find(|(start, ..)| is_it(start))?;
        Some(Self { language, tool })
    }

    /// What is not seen.
    pub(crate) fn unseen(self, path: &str) -> String {
        format!("the {} heap ({path}): its runtime takes memory from the kernel itself, not from malloc", self.language)
    }

    /// What looks into it.
    pub(crate) fn remedy(self, pid: Pid) -> String {
        let tool = self.tool.replace("PID", &pid.to_string());
        format!("{tool} looks into it; `leakline hunt` still measures its growth")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let found = Runtime::of(path, b"no module").map_or("none", |runtime| runtime.language);
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn runtimes_are_known_by_their_files() {
        check("/usr/lib/jvm/java-17/lib/server/libjvm.so", "Java");
        check("/usr/share/dotnet/libcoreclr.so", ".NET");
        check("/usr/bin/node", "JavaScript");
        check("/usr/lib/x86_64-linux-gnu/libnode.so.108", "JavaScript");
        check("/usr/bin/node18", "JavaScript");
        check("/usr/bin/nodebug", "none");
        check("/usr/lib/libc.so.6", "none");
        check("", "none");
    }

    #[test]
    fn what_looks_into_it_is_said() {
        let java = Runtime::of("/x/libjvm.so", &[]).unwrap();
        assert!(java.unseen("/x/libjvm.so").starts_with("the Java heap (/x/libjvm.so): "));
        assert!(java.remedy(Pid(42)).starts_with("`jcmd 42 GC.class_histogram` looks into it"));
    }
}
