//! What changed between two looks, as tables.
//!
//! Owns: which mapping of one look is which of the other. Must not know: when the looks were taken, or why.

use std::collections::BTreeMap;
use std::time::Duration;

use model::inspection::{MachineInspection, MappingInspection, MappingKind, ProcessInspection};
use model::{Bytes, ProcessKey, ProcessMetric, Reading, Source};

use super::{number, per_hour};
use crate::metrics::{self, Metric};
use crate::text::phrase::counted;
use crate::view::compare::{change, machine};
use crate::view::{Cell, HuntView, ProcessView, SheetView, TableView};

/// Size before, size after, the difference, and the rate. The rate is by the two ends alone, which is all that two looks know; how
/// sure growth is, only the samples in between can tell.
const SIZES: [&Metric; 4] = [&metrics::BEFORE, &metrics::AFTER, &metrics::CHANGE, &metrics::CHANGE_PER_HOUR];
/// The same for numbers of things.
const NUMBERS: [&Metric; 4] =
    [&metrics::NUMBER_BEFORE, &metrics::NUMBER_AFTER, &metrics::NUMBER_CHANGE, &metrics::NUMBER_PER_HOUR];

/// Something before and after.
struct Changed<T> {
    name: T,
    before: Reading<Bytes>,
    after: Reading<Bytes>,
}

impl SheetView {
    /// Puts first what changed since an earlier look at the same process; `judged` is what the samples in between came to.
    pub fn add_process_growth(
        &mut self,
        before: &ProcessInspection,
        after: &ProcessInspection,
        judged: Option<&ProcessView>,
        rows: usize,
    ) {
        debug_assert_eq!(before.identity.key, after.identity.key, "both looks are at one process");
        let period = after.at.saturating_sub(before.at);
        let tables = [
            growth(period, judged),
            kinds(before, after, period),
            mappings(before, after, period).first(rows),
            descriptors(before, after, period),
        ];
        // Behind the facts of the process and before everything else: who asks for growth wants that first.
        self.tables.splice(1..1, tables);
        let reasons = judged.into_iter().flat_map(|judged| &judged.reasons);
        self.notes.extend(reasons.map(|reason| format!("growth: {reason}")));
    }

    /// Puts first what changed since an earlier look at the machine; `judged` is what the samples in between came to.
    pub fn add_machine_growth(
        &mut self,
        before: &MachineInspection,
        after: &MachineInspection,
        judged: &HuntView,
        rows: usize,
    ) {
        let period = Duration::from_nanos(after.beat.at.boot_ns.saturating_sub(before.beat.at.boot_ns));
        let memory = TableView {
            key: "memory_growth",
            title: "Growth of the machine's memory".to_owned(),
            ..machine(&before.beat, &after.beat)
        };
        let tables = [ranking(judged), memory, slab(before, after, period), descriptors_of_all(before, after, period)];
        self.tables.splice(1..1, tables.map(|table| table.first(rows)));
        self.notes.extend(judged.notes.iter().cloned());
        let unjudged = judged.processes.iter().filter(|process| process.growth.known().is_none()).count();
        if unjudged > 0 {
            let processes = counted(unjudged as u64, "process");
            self.notes.push(format!("of {processes} too little was seen to tell how they grow"));
        }
    }
}

fn growth(period: Duration, judged: Option<&ProcessView>) -> TableView {
    let nothing = Reading::Missing(model::Why::TooShort);
    let rate = judged.map_or(nothing, |judged| judged.growth);
    let word = |text: &str| {
        if text.is_empty() { Cell::Text(Reading::Missing(model::Why::TooShort)) } else { Cell::text(text) }
    };
    TableView::facts(
        "growth",
        "Growth of private memory",
        [
            (&metrics::PERIOD, Cell::Span(Reading::Known(period))),
            (&metrics::VERDICT, word(judged.map_or("", |judged| &judged.verdict))),
            (
                &metrics::CONFIDENCE,
                Cell::Share(judged.map_or(Reading::Missing(model::Why::TooShort), |it| it.confidence)),
            ),
            (&metrics::GROWTH, Cell::Change(rate.map(|rate| rate.per_hour))),
            (&metrics::GROWTH_LOW, Cell::Change(rate.map(|rate| rate.low))),
            (&metrics::GROWTH_HIGH, Cell::Change(rate.map(|rate| rate.high))),
            // Nothing grows in a process that was judged: that is known, and not for want of time.
            (
                &metrics::KIND,
                word(judged.map_or("", |judged| if judged.kind.is_empty() { "none" } else { &judged.kind })),
            ),
        ],
    )
}

fn sizes(before: Reading<Bytes>, after: Reading<Bytes>, period: Duration) -> [Cell; SIZES.len()] {
    let change = change(before, after);
    [Cell::Bytes(before), Cell::Bytes(after), Cell::Change(change), Cell::Change(per_hour(change, period))]
}

fn numbers(before: Reading<u64>, after: Reading<u64>, period: Duration) -> [Cell; NUMBERS.len()] {
    let change = change(before.map(Bytes), after.map(Bytes));
    [Cell::Count(before), Cell::Count(after), Cell::CountChange(change), Cell::CountChange(per_hour(change, period))]
}

/// What changed, what grew most first; what is unknown is last.
fn changed<T>(rows: impl IntoIterator<Item = Changed<T>>) -> Vec<Changed<T>> {
    let by = |row: &Changed<T>| change(row.before, row.after);
    let mut rows: Vec<_> = rows.into_iter().filter(|row| by(row) != Reading::Known(0)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(by(row).known()));
    rows
}

fn kinds(before: &ProcessInspection, after: &ProcessInspection, period: Duration) -> TableView {
    let columns: Vec<_> = [&metrics::MAPPING_KIND].into_iter().chain(SIZES).collect();
    let table = TableView::new("kind_growth", "Growth by kind, in RAM and swap", &columns);
    if let Reading::Missing(why) = after.all_mappings() {
        return TableView { missing: Some(why), ..table };
    }
    let taken = |look: &ProcessInspection, kind| match look.of_kind(kind) {
        Reading::Known((usage, _)) => usage.taken(),
        Reading::Missing(why) => Reading::Missing(why),
    };
    let row =
        |kind: &MappingKind| Changed { name: kind.key(), before: taken(before, *kind), after: taken(after, *kind) };
    table.with_rows(Reading::Known(changed(MappingKind::ALL.iter().map(row))), |row| {
        [Cell::text(row.name)].into_iter().chain(sizes(row.before, row.after, period)).collect()
    })
}

/// The kernel merges mappings that touch and are alike, upwards and downwards, so that a mapping that grows may have any
/// of its ends elsewhere the next time: each earlier mapping belongs to the later one that covers most of it.
fn mappings(before: &ProcessInspection, after: &ProcessInspection, period: Duration) -> TableView {
    let columns: Vec<_> = [&metrics::ADDRESS, &metrics::MAPPING_KIND].into_iter().chain(SIZES).collect();
    let columns: Vec<_> = columns.into_iter().chain([&metrics::PATH]).collect();
    let table = TableView::new("mapping_growth", "Mappings that changed, in RAM and swap", &columns);
    let (old, new) = match (&before.mappings, &after.mappings) {
        (Reading::Known(old), Reading::Known(new)) => (old, new),
        (Reading::Missing(why), _) | (_, Reading::Missing(why)) => return TableView { missing: Some(*why), ..table },
    };
    let rows = changed(matched(old, new));
    table.with_rows(Reading::Known(rows), |row| {
        let mapping = row.name;
        let named = [Cell::text(mapping.addresses.start.to_string()), Cell::text(mapping.kind.key())];
        let sizes = sizes(row.before, row.after, period);
        named.into_iter().chain(sizes).chain([Cell::text(&mapping.name)]).collect()
    })
}

/// Each later mapping with what its earlier ones took, and the earlier ones that are gone. Both lists are in the order of
/// addresses.
fn matched<'a>(old: &'a [MappingInspection], new: &'a [MappingInspection]) -> Vec<Changed<&'a MappingInspection>> {
    let none = Reading::Known(Bytes(0));
    let mut rows: Vec<_> =
        new.iter().map(|mapping| Changed { name: mapping, before: none, after: mapping.usage.taken() }).collect();
    for mapping in old {
        // Both lists are sorted, so that only those that overlap are looked at: a process may have 65,530 mappings
        // (`vm.max_map_count`), and each with each would be minutes.
        let first = new.partition_point(|later| later.addresses.end <= mapping.addresses.start);
        let overlapping = new.iter().enumerate().skip(first);
        let overlapping = overlapping.take_while(|(_, later)| later.addresses.start < mapping.addresses.end);
        let alike = overlapping.filter(|(_, later)| later.name == mapping.name);
        // By name as well: a library that was unloaded may have left its place to another.
        // Of the halves of a mapping that was split, the one that takes more is its heir.
        let claim = |later: &MappingInspection| (overlap(mapping, later), later.usage.taken().known());
        let heir = alike.max_by_key(|(_, later)| claim(later)).map(|(index, _)| index);
        match heir.and_then(|index| rows.get_mut(index)) {
            Some(row) => row.before = row.before.with(mapping.usage.taken(), Bytes::plus),
            None => rows.push(Changed { name: mapping, before: mapping.usage.taken(), after: none }),
        }
    }
    rows
}

/// What changed, as the tests write it.
#[cfg(test)]
pub(super) fn written(old: &[MappingInspection], new: &[MappingInspection]) -> String {
    let bytes = |reading: Reading<Bytes>| reading.known().map_or(0, |bytes| bytes.0);
    let row = |row: &Changed<&MappingInspection>| {
        format!("{} {}→{}", row.name.addresses.start.0, bytes(row.before), bytes(row.after))
    };
    changed(matched(old, new)).iter().map(row).collect::<Vec<_>>().join(", ")
}

fn overlap(one: &MappingInspection, other: &MappingInspection) -> u64 {
    let end = one.addresses.end.0.min(other.addresses.end.0);
    end.saturating_sub(one.addresses.start.0.max(other.addresses.start.0))
}

fn descriptors(before: &ProcessInspection, after: &ProcessInspection, period: Duration) -> TableView {
    let columns: Vec<_> = [&metrics::DESCRIPTOR_KIND].into_iter().chain(NUMBERS).collect();
    let table = TableView::new("descriptor_growth", "Descriptors by type", &columns);
    let (old, new) = match (&before.descriptors, &after.descriptors) {
        (Reading::Known(old), Reading::Known(new)) => (old, new),
        (Reading::Missing(why), _) | (_, Reading::Missing(why)) => return TableView { missing: Some(*why), ..table },
    };
    // By type and not by number: numbers are used anew, so that the same number says nothing about the same file.
    let mut kinds: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for descriptor in old {
        kinds.entry(descriptor.kind).or_default().0 += 1;
    }
    for descriptor in new {
        kinds.entry(descriptor.kind).or_default().1 += 1;
    }
    table.with_rows(Reading::Known(kinds), |(kind, (before, after))| {
        let counts = numbers(Reading::Known(before), Reading::Known(after), period);
        [Cell::text(kind.key())].into_iter().chain(counts).collect()
    })
}

/// Who grows on the machine, as the samples between the looks were judged.
fn ranking(judged: &HuntView) -> TableView {
    let columns = [
        &metrics::PID,
        &metrics::COMMAND,
        &metrics::PRIVATE,
        &metrics::GROWTH,
        &metrics::GROWTH_LOW,
        &metrics::GROWTH_HIGH,
        &metrics::KIND,
        &metrics::CONFIDENCE,
        &metrics::VERDICT,
    ];
    let moving =
        judged.processes.iter().filter(|process| process.growth.known().is_some_and(|rate| rate.per_hour != 0));
    TableView::new("growth", "Growth of private memory", &columns).with_rows(Reading::Known(moving), |process| {
        let rate = |of: fn(&crate::Rate) -> i64| Cell::Change(process.growth.map(|rate| of(&rate)));
        vec![
            number(process.identity.key.pid.0),
            Cell::text(&process.identity.command),
            Cell::Bytes(process.memory.private()),
            rate(|rate| rate.per_hour),
            rate(|rate| rate.low),
            rate(|rate| rate.high),
            Cell::text(&process.kind),
            Cell::Share(process.confidence),
            Cell::text(&process.verdict),
        ]
    })
}

/// The kernel's own objects: what grows here belongs to no process, and no other table would show it.
fn slab(before: &MachineInspection, after: &MachineInspection, period: Duration) -> TableView {
    let columns: Vec<_> = [&metrics::NAME].into_iter().chain(SIZES).collect();
    let table = TableView::new("slab_growth", "Slab caches that changed", &columns);
    let figures = match after.beat.system.figures(Source::Slabinfo) {
        Reading::Known(figures) => figures.iter().filter(|figure| *figure.key.name == *"bytes"),
        Reading::Missing(why) => return TableView { missing: Some(why), ..table },
    };
    let earlier = |cache: &str| match before.beat.system.get(Source::Slabinfo, cache, "bytes") {
        // A cache without pages is not listed.
        Reading::Missing(model::Why::NotOffered) => Reading::Known(Bytes(0)),
        Reading::Missing(why) => Reading::Missing(why),
        Reading::Known(bytes) => Reading::Known(Bytes(bytes)),
    };
    let row = |figure: &'_ model::Figure| Changed {
        name: figure.key.subject.clone(),
        before: earlier(&figure.key.subject),
        after: figure.value.map(Bytes),
    };
    table.with_rows(Reading::Known(changed(figures.map(row))), |row| {
        [Cell::text(&*row.name)].into_iter().chain(sizes(row.before, row.after, period)).collect()
    })
}

/// Processes whose number of descriptors changed. One that started in between has nothing to be compared with, and one that ended has
/// nothing left.
fn descriptors_of_all(before: &MachineInspection, after: &MachineInspection, period: Duration) -> TableView {
    let columns: Vec<_> = [&metrics::PID, &metrics::COMMAND].into_iter().chain(NUMBERS).collect();
    let table = TableView::new("descriptor_growth", "Processes whose descriptors changed", &columns);
    let count = |process: &model::ProcessReading| process.figures.get(ProcessMetric::Descriptors);
    let old: BTreeMap<ProcessKey, Reading<u64>> =
        before.beat.processes.iter().map(|process| (process.identity.key, count(process))).collect();
    let row = |process: &'_ model::ProcessReading| {
        let before = old.get(&process.identity.key)?.map(Bytes);
        Some(Changed { name: process.identity.clone(), before, after: count(process).map(Bytes) })
    };
    let known = after.beat.processes.iter().filter(|process| count(process).known().is_some());
    table.with_rows(Reading::Known(changed(known.filter_map(row))), |row| {
        let counts = numbers(row.before.map(|it| it.0), row.after.map(|it| it.0), period);
        [number(row.name.key.pid.0), Cell::text(&row.name.command)].into_iter().chain(counts).collect()
    })
}
