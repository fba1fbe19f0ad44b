//! The thresholds of alerts as the configuration file sets them.
//!
//! Owns: the keys under `[alerts]`. Must not know: what a threshold does.

use analysis::{AlertOptions, Rule};
use toml::Value;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::values;

/// The section of the file.
const SECTION: &str = "alerts";
/// Keys of the section that are about all rules.
const COMMON: [&str; 3] = ["confidence-min", "hourly-max", "repeat-min"];

/// Whether there is such a section, or such a key in it; what a rule's table holds is checked by [`options`].
pub(crate) fn is_known(section: &str, key: Option<&str>) -> bool {
    section == SECTION && key.is_none_or(|key| COMMON.contains(&key) || rule(key).is_some())
}

/// The defaults with what the file sets.
pub(crate) fn options(settings: &Settings) -> Result<AlertOptions, Failure> {
    let mut options = AlertOptions::default();
    for (key, value) in settings.section(SECTION).into_iter().flatten() {
        let set = match (key.as_str(), rule(key)) {
            (_, Some(rule)) => set_level(&mut options, rule, value),
            ("confidence-min", None) => number(value, 1.0).map(|least| options.confidence_min = least),
            ("hourly-max", None) => number(value, 1e6).map(|most| options.hourly_max = most as u32),
            (_, None) => span(value).map(|least| options.repeat_min = least),
        };
        set.map_err(|error| settings.refused(&format!("{SECTION}.{key}: {error}")))?;
    }
    Ok(options)
}

fn set_level(options: &mut AlertOptions, rule: Rule, value: &Value) -> Result<(), String> {
    let mut level = options.level(rule);
    match value {
        Value::Boolean(enabled) => level.enabled = *enabled,
        Value::Integer(_) | Value::Float(_) => {
            level.raise = number(value, f64::from(u32::MAX))?;
            // Cleared where it was by default, unless that is beyond the new level; `set_level` sees to it.
        }
        Value::Table(table) => {
            for (key, value) in table {
                match key.as_str() {
                    "raise" => level.raise = number(value, f64::from(u32::MAX))?,
                    "clear" => level.clear = number(value, f64::from(u32::MAX))?,
                    "hold" => level.hold = span(value)?,
                    "enabled" => level.enabled = value.as_bool().ok_or("enabled is true or false")?,
                    _ => return Err(format!("{key} is none of raise, clear, hold and enabled")),
                }
            }
        }
        Value::String(_) | Value::Datetime(_) | Value::Array(_) => {
            return Err("needed: a number, false, or a table with raise, clear, hold and enabled".to_owned());
        }
    }
    options.set_level(rule, level);
    Ok(())
}

fn number(value: &Value, greatest: f64) -> Result<f64, String> {
    let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    number
        .filter(|number| (0.0..=greatest).contains(number))
        .ok_or_else(|| format!("needed: a number from 0 to {greatest}"))
}

fn span(value: &Value) -> Result<std::time::Duration, String> {
    match value {
        Value::String(text) => values::duration(text),
        Value::Integer(seconds) => values::duration(&seconds.to_string()),
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err("needed: a duration such as 30 or \"10m\"".to_owned())
        }
    }
}

fn rule(key: &str) -> Option<Rule> {
    Rule::ALL.into_iter().find(|rule| rule.key() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: &str) {
        let settings = Settings::parse(text, "/c".into()).expect("it is sound");
        let found = match options(&settings) {
            Ok(options) => {
                let level = options.level(Rule::MemoryUsed);
                format!("{level:?} {} {} {:?}", options.confidence_min, options.hourly_max, options.repeat_min)
            }
            Err(failure) => format!("{failure:?}"),
        };
        assert!(found.contains(wanted), "{text}: {found}");
    }

    #[test]
    fn thresholds_are_numbers_or_tables() {
        check("", "raise: 80.0, clear: 75.0, hold: 30s, enabled: true } 0.8 20 600s");
        check("[alerts]\nmemory-used = 90", "raise: 90.0, clear: 75.0");
        check("[alerts]\nmemory-used = 60", "raise: 60.0, clear: 60.0");
        check("[alerts]\nmemory-used = false", "enabled: false");
        check("[alerts.memory-used]\nraise = 70\nclear = 50.5\nhold = '5m'", "raise: 70.0, clear: 50.5, hold: 300s");
        check("[alerts]\nconfidence-min = 0.5\nhourly-max = 3\nrepeat-min = 60", "0.5 3 60s");
    }

    #[test]
    fn what_is_no_threshold_is_refused() {
        check("[alerts]\nmemory-used = 'much'", "/c: alerts.memory-used: needed: a number");
        check("[alerts]\nmemory-used = -1", "/c: alerts.memory-used: needed: a number from 0");
        check("[alerts.memory-used]\nrise = 1", "rise is none of raise");
        check("[alerts]\nconfidence-min = 2", "alerts.confidence-min: needed: a number from 0 to 1");
        check("[alerts]\nrepeat-min = 'soon'", "the unit `soon`");
        assert!(is_known("alerts", Some("memory-used")) && is_known("alerts", None));
        assert!(!is_known("alerts", Some("memory-usd")) && !is_known("alarms", None));
    }
}
