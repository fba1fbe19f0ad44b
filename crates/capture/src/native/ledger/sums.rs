//! Sums over what was held, by site.
//!
//! Owns: what was made and ended of each site, and how long it lived. Must not know: what it was.

use std::collections::{BTreeMap, HashMap};

use model::{Bytes, Content, Kind, Lifetimes, SiteCounts, StackId, Tally};

use super::Told;
use crate::native::ticks::Ticks;

/// Sites of the ledger are numbered from here on: stacks of the shared memory have lower numbers.
const FIRST_SITE: u32 = wire::STACKS_MAX as u32;

/// Names of a site's contents that are told one by one.
const CONTENTS_MAX: usize = 5;

/// A site: what it holds, and the stack.
pub(super) type Key = (Kind, u32);

/// Where something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) key: Key,
    /// In ticks.
    pub(super) birth: u64,
    /// Number of the event that told it.
    pub(super) number: u64,
}

impl Origin {
    pub(super) fn new(kind: Kind, told: &Told) -> Self {
        Self { key: (kind, told.stack), birth: told.at, number: told.number }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    number: u32,
    allocated: Tally,
    freed: Tally,
    late: Tally,
    late_longest: u64,
    lives: u64,
    life_total: u64,
    life_min: u64,
    life_max: u64,
}

/// The sums of all sites.
#[derive(Debug, Default)]
pub(super) struct Sums {
    sites: HashMap<Key, Sum>,
    /// The key of each site by its number.
    keys: Vec<Key>,
    /// Age in ticks from which something has expired.
    pub(super) expire: u64,
}

impl Sums {
    /// Something was made.
    pub(super) fn make(&mut self, key: Key, bytes: u64) {
        add(&mut self.site(key).allocated, 1, bytes);
    }

    fn site(&mut self, key: Key) -> &mut Sum {
        let keys = &mut self.keys;
        self.sites.entry(key).or_insert_with(|| {
            keys.push(key);
            Sum::new(key.0, keys.len() as u32 - 1)
        })
    }

    /// The stack of a site, by the number that it is shown with.
    pub(super) fn stack_of(&self, site: StackId) -> Option<u32> {
        let number = site.0.checked_sub(FIRST_SITE)?;
        self.keys.get(number as usize).map(|(_, stack)| *stack)
    }

    /// What was made where there was no room for its stack.
    pub(super) fn without_stack(&self) -> u64 {
        self.sites.iter().filter(|((_, stack), _)| *stack == 0).map(|(_, sum)| sum.allocated.count).sum()
    }

    /// A part of something ended, and with `whole` all that was left of it.
    pub(super) fn end(&mut self, origin: Origin, bytes: u64, whole: bool, at: u64) {
        let life = at.saturating_sub(origin.birth);
        let expire = self.expire;
        let sum = self.site(origin.key);
        let count = u64::from(whole);
        add(&mut sum.freed, count, bytes);
        if life >= expire {
            add(&mut sum.late, count, bytes);
            sum.late_longest = sum.late_longest.max(life);
        }
        if whole {
            sum.life_min = if sum.lives == 0 { life } else { sum.life_min.min(life) };
            sum.life_max = sum.life_max.max(life);
            sum.life_total = sum.life_total.saturating_add(life);
            sum.lives += 1;
        }
    }

    /// Counts of all sites, with what they hold now.
    pub(super) fn sites(&self, held: &Held, ticks: &Ticks) -> Vec<SiteCounts> {
        let with_stack = self.keys.iter().filter(|(_, stack)| *stack != 0);
        with_stack.filter_map(|key| Some(site(self.sites.get(key)?, &held.of(*key), held.now, ticks))).collect()
    }
}

impl Sum {
    fn new(kind: Kind, number: u32) -> Self {
        let none = Tally::of(kind);
        let (late_longest, lives, life_total, life_min, life_max) = (0, 0, 0, 0, 0);
        Self { number, allocated: none, freed: none, late: none, late_longest, lives, life_total, life_min, life_max }
    }
}

fn site(sum: &Sum, held: &HeldBySite, now: u64, ticks: &Ticks) -> SiteCounts {
    let lifetimes = (sum.lives > 0).then(|| Lifetimes {
        min: ticks.duration(sum.life_min),
        mean: ticks.duration(sum.life_total / sum.lives),
        max: ticks.duration(sum.life_max),
    });
    SiteCounts {
        stack: StackId(FIRST_SITE.saturating_add(sum.number)),
        allocated: sum.allocated,
        freed: sum.freed,
        live: held.live,
        expired: held.expired,
        freed_late: sum.late,
        freed_late_longest: (sum.late.count > 0).then(|| ticks.duration(sum.late_longest)),
        lifetimes,
        oldest_live: held.oldest.map(|birth| ticks.duration(now.saturating_sub(birth))),
        contents: held.contents(),
    }
}

fn add(tally: &mut Tally, count: u64, bytes: u64) {
    tally.count = tally.count.saturating_add(count);
    tally.bytes = tally.bytes.plus(Bytes(bytes));
}

/// What is held at one moment.
#[derive(Debug)]
pub(super) struct Held {
    now: u64,
    expire: u64,
    by_site: HashMap<Key, HeldBySite>,
}

#[derive(Clone, Debug)]
pub(super) struct HeldBySite {
    live: Tally,
    expired: Tally,
    oldest: Option<u64>,
    contents: BTreeMap<String, u64>,
}

impl Held {
    pub(super) fn new(now: u64, expire: u64) -> Self {
        Self { now, expire, by_site: HashMap::new() }
    }

    pub(super) fn of(&self, key: Key) -> HeldBySite {
        self.by_site.get(&key).cloned().unwrap_or_else(|| HeldBySite::new(key.0))
    }

    /// One thing that is held. What `may_expire` says no to is in use for certain, however old it is.
    pub(super) fn add(&mut self, origin: Origin, bytes: u64, name: Option<&str>, may_expire: bool) {
        let site = self.by_site.entry(origin.key).or_insert_with(|| HeldBySite::new(origin.key.0));
        add(&mut site.live, 1, bytes);
        if may_expire && self.now.saturating_sub(origin.birth) >= self.expire {
            add(&mut site.expired, 1, bytes);
        }
        site.oldest = Some(site.oldest.map_or(origin.birth, |oldest| oldest.min(origin.birth)));
        if let Some(name) = name {
            match site.contents.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(site.contents.insert(name.to_owned(), 1)),
            }
        }
    }
}

impl HeldBySite {
    fn new(kind: Kind) -> Self {
        Self { live: Tally::of(kind), expired: Tally::of(kind), oldest: None, contents: BTreeMap::new() }
    }

    /// The names that occur most; the rest as one.
    pub(super) fn contents(&self) -> Vec<Content> {
        let named = self.contents.iter().map(|(name, count)| Content { name: name.clone(), count: *count });
        let mut contents: Vec<Content> = named.collect();
        contents.sort_by_key(|content| std::cmp::Reverse(content.count));
        let rest = contents.split_off(contents.len().min(CONTENTS_MAX));
        if !rest.is_empty() {
            let count = rest.iter().map(|content| content.count).sum();
            contents.push(Content { name: format!("{} others", rest.len()), count });
        }
        contents
    }
}
