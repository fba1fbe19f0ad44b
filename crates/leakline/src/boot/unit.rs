//! The service of systemd: its text, and where it is written.
//!
//! Owns: the unit. Must not know: what the service does beyond its command line.
#![expect(clippy::disallowed_methods, reason = "asks systemctl, the only interface of systemd that needs no library")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::reports::whole;

/// Name of the service.
pub(super) const UNIT: &str = "leakline-boot.service";
/// Units of the administrator.
const UNITS: &str = "etc/systemd/system";
/// Early, and with everything that a boot starts.
const TARGET: &str = "sysinit.target";

/// The unit. It may look at everything and change nothing but its own directory; it yields to everybody else.
pub(super) fn text(program: &Path) -> String {
    format!(
        "[Unit]
Description=leakline records the memory of all processes from boot on
Documentation=man:leakline-boot(1)
DefaultDependencies=no
After=local-fs.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=exec
ExecStart={} boot run
Restart=on-failure
RestartSec=10
TimeoutStopSec=30
StateDirectory=leakline
StateDirectoryMode=0700
UMask=0077

# It yields to everybody, and cannot become the leak that it looks for.
Nice=10
CPUWeight=20
IOSchedulingClass=idle
MemoryHigh=96M
MemoryMax=192M
TasksMax=32

# It reads what root can read and changes nothing but its own directory.
CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_SYSLOG
DevicePolicy=closed
DeviceAllow=/dev/kmsg r
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateMounts=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=read-only
ProtectHostname=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged

[Install]
WantedBy={TARGET}
",
        quoted(program)
    )
}

/// A path as `ExecStart` takes it.
fn quoted(program: &Path) -> String {
    let path =
        program.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{path}\"")
}

/// Writes and enables the service; starts it unless it is installed into another root.
pub(super) fn install(root: Option<&Path>) -> Result<PathBuf, Failure> {
    needs_systemd(root)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::with_hint(format!("the place of this program is unknown: {error}"), None))?;
    if root.is_none() {
        refuse_hidden(&program)?;
    }
    let units = units(root);
    let path = units.join(UNIT);
    let wants = units.join(format!("{TARGET}.wants"));
    let made = fs::create_dir_all(if root.is_some() { &wants } else { &units });
    made.map_err(|error| unwritable(&units, &error))?;
    whole(&path, |out| out.write_all(text(&program).as_bytes()))?;
    if root.is_none() {
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", UNIT])?;
        return Ok(path);
    }
    match std::os::unix::fs::symlink(format!("../{UNIT}"), wants.join(UNIT)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unwritable(&wants, &error)),
        _ => Ok(path),
    }
}

/// The service has directories for temporary files of its own, and sees nothing of ours: it would fail at each start.
fn refuse_hidden(program: &Path) -> Result<(), Failure> {
    if !["/tmp", "/var/tmp"].iter().any(|hidden| program.starts_with(hidden)) {
        return Ok(());
    }
    let text = format!("{} is among the temporary files, which the service does not see", program.display());
    Err(Failure::with_hint(text, "copy leakline to /usr/local/bin and install from there".to_owned()))
}

/// Stops, disables and removes the service.
pub(super) fn uninstall(root: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = units(root).join(UNIT);
    if !path.exists() {
        return Err(Failure::with_hint(format!("the service is not installed: {} is not there", path.display()), None));
    }
    if root.is_none() {
        needs_systemd(root)?;
        systemctl(&["disable", "--now", UNIT])?;
    }
    // The link is gone already where systemctl took it away.
    let _ = fs::remove_file(units(root).join(format!("{TARGET}.wants/{UNIT}")));
    fs::remove_file(&path).map_err(|error| unwritable(&path, &error))?;
    if root.is_none() {
        systemctl(&["daemon-reload"])?;
    }
    Ok(path)
}

/// Whether the service is installed in this system.
pub(super) fn is_installed() -> bool {
    units(None).join(UNIT).exists()
}

fn units(root: Option<&Path>) -> PathBuf {
    root.unwrap_or_else(|| Path::new("/")).join(UNITS)
}

/// systemd says itself that it is at work by this directory, as `sd_booted(3)` has it.
fn needs_systemd(root: Option<&Path>) -> Result<(), Failure> {
    if root.is_some() || Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    let hint = "let whatever starts services here run `leakline record --background` as root, for example /etc/rc.local; \
                `leakline boot run` stays in the foreground, as supervisors want it";
    Err(Failure::with_hint(
        "systemd is not at work on this machine, so that it cannot start a service",
        hint.to_owned(),
    ))
}

fn systemctl(arguments: &[&str]) -> Result<(), Failure> {
    let line = arguments.join(" ");
    let failed =
        |text: String| Failure::with_hint(format!("`systemctl {line}` failed: {text}"), "run this as root".to_owned());
    let output = Command::new("systemctl").args(arguments).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::with_hint(format!("{} cannot be changed: {error}", path.display()), "run this as root".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_unit() {
        assert!(text(Path::new("/usr/bin/leakline")).contains("\nExecStart=\"/usr/bin/leakline\" boot run\n"));
        assert_eq!(quoted(Path::new("/a b/100%$x\"")), "\"/a b/100%%$$x\\\"\"");
    }

    #[test]
    fn a_program_that_the_service_cannot_see_is_refused() {
        let refused = |path: &str| refuse_hidden(Path::new(path)).is_err();
        assert!(refused("/tmp/leakline") && refused("/var/tmp/a/leakline"));
        assert!(!refused("/usr/local/bin/leakline") && !refused("/tmpfs/leakline"));
    }

    #[test]
    fn it_is_installed_into_another_root_and_removed() {
        let root = std::env::temp_dir().join(format!("leakline-boot-{}", std::process::id()));
        let path = install(Some(&root)).expect("it can be written");
        install(Some(&root)).expect("twice is once");
        let link = root.join(UNITS).join("sysinit.target.wants").join(UNIT);
        assert_eq!(fs::canonicalize(&link).expect("it leads there"), fs::canonicalize(&path).expect("it is there"));
        uninstall(Some(&root)).expect("it is there");
        assert!(!path.exists() && fs::symlink_metadata(&link).is_err());
        assert!(uninstall(Some(&root)).is_err());
        fs::remove_dir_all(root).expect("it is ours");
    }
}
