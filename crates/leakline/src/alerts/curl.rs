//! Webhooks over https, by the system's own curl.
//!
//! Owns: how curl is called and what its failures mean. Must not know: what is sent, or how often it is tried.
//!
//! Why a child and no library: `docs/decisions/https.md`. Address and content go through its standard input, since addresses of
//! webhooks are secrets and the arguments of a process are for all to see.
#![expect(clippy::disallowed_methods, reason = "the one place where leakline starts curl")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::sinks::Undelivered;
use super::webhook::{self, Url};
use crate::failure::Failure;
use crate::limits::{COMMAND_PATIENCE, STOP_SLICE, WEBHOOK_PATIENCE, WORDS_BYTES};
use crate::session::patiently;

/// Refuses what can never work: no curl, or a file of an authority that cannot be read.
pub(super) fn check(authority: Option<&Path>) -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |path: &Path| path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    if !std::env::split_paths(&path).any(|folder| is_program(&folder.join("curl"))) {
        let hint = "install curl, or send to a server on http:// that passes it on";
        return Err(Failure::with_hint(
            "a webhook over https needs curl, which is not on this machine",
            hint.to_owned(),
        ));
    }
    if let Some(file) = authority {
        let failed = |error| Failure::with_hint(format!("{} cannot be read: {error}", file.display()), None);
        let mut text = String::new();
        File::open(file).and_then(|opened| opened.take(WORDS_BYTES * 16).read_to_string(&mut text)).map_err(failed)?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            let text = format!("{} has no certificate in the form PEM", file.display());
            return Err(Failure::with_hint(text, "it begins with -----BEGIN CERTIFICATE-----".to_owned()));
        }
    }
    Ok(())
}

/// Sends once.
pub(super) fn post(url: &Url, authority: Option<&Path>, body: &str) -> Result<(), Undelivered> {
    let for_now = |error: std::io::Error| Undelivered::ForNow(format!("curl: {error}"));
    let mut child = Command::new("curl")
        // The first word keeps the user's own configuration out, which may turn checks off.
        .args(["--disable", "--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(for_now)?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may have ended at once; why is in its own words. An alert fits into the pipe.
        let _ = stdin.write_all(configuration(url, authority, body).as_bytes());
    }
    if !patiently(COMMAND_PATIENCE, STOP_SLICE, || !matches!(child.try_wait(), Ok(None))) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Undelivered::ForNow(format!("{}: no answer in time", url.authority())));
    }
    let (status, output, errors) = ended(child).map_err(for_now)?;
    judge(url, status, &output, &errors)
}

/// What curl is to do, in the words of its configuration.
fn configuration(url: &Url, authority: Option<&Path>, body: &str) -> String {
    let patience = WEBHOOK_PATIENCE.as_secs();
    let mut text =
        String::from("silent\nshow-error\noutput = /dev/null\nwrite-out = \"%{http_code}\"\nproto = \"=https\"\n");
    let _ = writeln!(text, "connect-timeout = {patience}\nmax-time = {}", patience * 2);
    let _ = writeln!(text, "user-agent = \"leakline/{}\"", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "header = \"Content-Type: application/json\"");
    let _ = writeln!(text, "url = {}", quoted(&url.to_string()));
    if let Some(file) = authority {
        let _ = writeln!(text, "cacert = {}", quoted(&file.display().to_string()));
    }
    let _ = writeln!(text, "data-raw = {}", quoted(body.trim_end()));
    text
}

/// A value as the configuration of curl takes it.
fn quoted(value: &str) -> String {
    debug_assert!(!value.contains('\n'), "a value is one line");
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn ended(mut child: Child) -> std::io::Result<(ExitStatus, String, String)> {
    let status = child.wait()?;
    let mut texts = [String::new(), String::new()];
    if let Some(stdout) = child.stdout.take() {
        stdout.take(WORDS_BYTES).read_to_string(&mut texts[0])?;
    }
    if let Some(stderr) = child.stderr.take() {
        stderr.take(WORDS_BYTES).read_to_string(&mut texts[1])?;
    }
    let [output, errors] = texts;
    Ok((status, output, errors))
}

/// Exit codes are those of curl(1).
fn judge(url: &Url, status: ExitStatus, output: &str, errors: &str) -> Result<(), Undelivered> {
    let line = errors.lines().find(|line| line.starts_with("curl: ")).unwrap_or("curl failed").trim();
    let why = format!("{}: {line}", url.authority());
    match status.code() {
        Some(0) => webhook::judge_code(url, output.trim().parse().ok()),
        // No try in the next minutes changes a certificate that is not trusted.
        Some(60) => Err(Undelivered::ForGood(format!("{why}; --alert-webhook-ca FILE names its authority"))),
        // A malformed address, a protocol that this curl does not have, the file of the authority.
        Some(1..=4 | 77) => Err(Undelivered::ForGood(why)),
        _ => Err(Undelivered::ForNow(why)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn url() -> Url {
        webhook::url("https://h:8443/a?b=\"c\\").expect("it is sound")
    }

    #[test]
    fn nothing_but_what_is_meant_is_configured() {
        let text = configuration(&url(), Some(Path::new("/a b/ca.pem")), "{\"x\":\"\\\\\"}\n");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&r#"url = "https://h:8443/a?b=\"c\\""#), "{text}");
        assert!(lines.contains(&r#"cacert = "/a b/ca.pem""#), "{text}");
        assert_eq!(lines.last(), Some(&r#"data-raw = "{\"x\":\"\\\\\"}""#));
    }

    #[track_caller]
    fn check(code: i32, output: &str, errors: &str, wanted: &str) {
        let found = format!("{:?}", judge(&url(), ExitStatus::from_raw(code << 8), output, errors));
        assert_eq!(found, wanted);
    }

    #[test]
    fn an_end_says_whether_to_try_again() {
        check(0, "204", "", "Ok(())");
        check(0, "503", "", r#"Err(ForNow("h:8443 answered 503"))"#);
        check(0, "404", "", r#"Err(ForGood("h:8443 answered 404"))"#);
        check(7, "000", "curl: (7) refused\n", r#"Err(ForNow("h:8443: curl: (7) refused"))"#);
        check(
            60,
            "000",
            "curl: (60) SSL certificate problem: self-signed certificate\nMore details here: x\n",
            r#"Err(ForGood("h:8443: curl: (60) SSL certificate problem: self-signed certificate; --alert-webhook-ca FILE names its authority"))"#,
        );
        check(77, "", "", r#"Err(ForGood("h:8443: curl failed"))"#);
    }

    #[test]
    fn a_file_that_is_no_certificate_is_refused() {
        for (file, words) in [("/etc/hostname", "no certificate"), ("/no/such", "/no/such cannot be read")] {
            let refused = format!("{:?}", check_file(file));
            assert!(refused.contains(words), "{refused}");
        }
    }

    fn check_file(file: &str) -> Failure {
        super::check(Some(Path::new(file))).expect_err("it must be refused")
    }
}
