//! One attach from beginning to end.
//!
//! Owns: carrying out a plan, the attached target, and undoing it. Must not know: how any step is done.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::{Duration, Instant};

use model::{Address, Bytes, FrameTrust, Kinds, Mode, Overhead, Pid, Reading, Snapshot, StackId, Why};
use wire::{Control, MAGIC, VERSION, regions};

use super::arm::{self, Changed};
use super::cap::{Cap, Limits, Used};
use super::collector::Collector;
use super::cost::{Meter, Work};
use super::custom::Custom;
use super::error::{AttachError, SessionError};
use super::file::SharedFile;
use super::governor::{Cost, Governor};
use super::image;
use super::inside::{Attached, ByFrames};
use super::load::{self, Loaded, Wanted};
use super::marks::Sweep;
use super::modules::Modules;
use super::prepare::Plan;
use super::read;
use super::remains;
use super::remote::Gadgets;
use super::settings::Settings;
use super::target::Target;
use super::threads::tracing;
use super::ticks::Ticks;
use super::{AttachOptions, Detached, Facts, ModeChoice, TargetState};
use crate::doctor::memory_available;
use crate::fault;
use crate::host::group_room;
use crate::sys::keeper::{ControlPage, Keeper};
use crate::sys::process;

/// An attached target. Dropping it takes the hooks out.
#[derive(Debug)]
pub struct Session {
    target: Target,
    facts: Facts,
    shared: SharedFile,
    page: Arc<ControlPage>,
    keeper: Keeper,
    kinds: Kinds,
    /// Where anything but the heap is watched.
    collector: Option<Collector>,
    modules: Modules,
    ticks: Ticks,
    settings: Settings,
    /// Settings that the target overwrote.
    overwritten: u64,
    expire: Duration,
    changed: Vec<Changed>,
    wanted: Wanted,
    shared_at: u64,
    gadgets: Gadgets,
    attached: bool,
    /// When the hooks fell silent, in ticks. Taking them out can last seconds, in which no free is seen: what is alive then would all
    /// look old at the end of it. (A program that was stopped inside a hook was so called leaking.)
    ended: Option<u64>,
    /// When the target was first seen stopped, by a signal or a debugger, in ticks. No time passes for it: what it would have freed must not
    /// look old.
    halted: Option<u64>,
    /// Which blocks are recorded now.
    mode: Mode,
    /// The rate at which it samples, when it does.
    rate: u32,
    meter: Meter,
    /// Only where the mode may change.
    governor: Option<Governor>,
    overhead: Overhead,
    cap: Cap,
    limits: Limits,
    /// Stacks that the user allows.
    stacks_max: u32,
    /// A sample is recorded since so little of the cap is left.
    is_short: bool,
    sweep: Sweep,
    /// Functions are hooked that the user named.
    any_function: bool,
}

/// Hooks the allocator of a running process.
pub fn attach(pid: Pid, options: &AttachOptions) -> Result<Session, AttachError> {
    let ticks = Ticks::begin();
    let began = Instant::now();
    let custom = custom_functions(options).map_err(AttachError::Functions)?;
    let target = Target::open(pid)?;
    let _claim = target.claim()?;
    remains::remove(&target)?;
    let cap = Cap::choose(options.memory_max, memory_available(), group_room(pid))
        .map_err(|found| AttachError::NoRoom { pid, found })?;
    let (text, mut plan, loaded) = plan_and_load(&target, &custom, options.kinds)?;
    fault::point("agent-loaded");
    let threads = target.threads().map_or(0, |threads| threads.len() as u32);
    let facts = facts(&target, &plan, (threads, options.modes.first()), (cap, loaded.stopped));
    let parts = Parts::start(&target, (&mut plan, &text), options.kinds, loaded)?;
    let mut session = Session::of(target, (parts, facts), &plan, options, (cap, ticks));
    // From here on an error drops the session, which takes everything out again.
    let stopped = session.put_hooks_in(&plan, options)?;
    session.ticks.start();
    if let Some(used) = process::used_time(pid.0) {
        session.meter.start(used);
    }
    session.attached = true;
    session.facts.longest_stop = session.facts.longest_stop.max(stopped);
    session.facts.active_after = began.elapsed();
    Ok(session)
}

/// How far the hooks could be taken out.
#[derive(Debug)]
enum Out {
    /// There is no target any more.
    Gone,
    /// Nothing leads to the agent; how long a thread stood still at most.
    Free(Duration),
    /// The hooks are out, and yet the agent has to stay, for this reason.
    Needed(Duration, String),
    /// They are still in.
    Failed(io::Error),
}

/// What works on leakline's side of the shared memory.
#[derive(Debug)]
struct Parts {
    shared: SharedFile,
    shared_at: u64,
    page: Arc<ControlPage>,
    keeper: Keeper,
    collector: Option<Collector>,
    modules: Modules,
}

impl Parts {
    /// Starts them; after an error nothing is mapped in the target any more.
    fn start(
        target: &Target,
        (plan, text): (&mut Plan, &[u8]),
        kinds: Kinds,
        loaded: Loaded,
    ) -> Result<Self, AttachError> {
        let Loaded { shared_at, file, .. } = loaded;
        Self::begin(target, (plan, text), kinds, (shared_at, SharedFile::new(file))).map_err(|(step, error)| {
            let _ = take_away(target, plan.gadgets, &plan.wanted, shared_at);
            target.failed(step, &error)
        })
    }

    fn begin(
        target: &Target,
        (plan, text): (&mut Plan, &[u8]),
        kinds: Kinds,
        (shared_at, shared): (u64, SharedFile),
    ) -> Result<Self, (&'static str, io::Error)> {
        let failed = |step: &'static str| move |error: io::Error| (step, error);
        let page = Arc::new(ControlPage::map(shared.file()).map_err(failed("map the shared memory"))?);
        let keeper = Keeper::start(page.clone()).map_err(failed("start the keeper"))?;
        let collects = kinds.mappings || kinds.descriptors;
        let collector = collects.then(|| Collector::start(page.clone(), &shared, target, kinds, plan.is_musl));
        let collector = collector.transpose().map_err(failed("start the collector"))?;
        // What is there now is held against the cap as a whole, and the attach refused where it is too much.
        let code = (std::mem::take(&mut plan.code), text);
        let modules = Modules::start(target, (&page, &shared), code).map_err(failed("fill the shared memory"))?;
        Ok(Self { shared, shared_at, page, keeper, collector, modules })
    }
}

/// Takes away all that is mapped in the target. Says how long a thread of it stood still.
fn take_away(target: &Target, gadgets: Gadgets, wanted: &Wanted, shared_at: u64) -> io::Result<Duration> {
    let code = wanted.code().into_iter().map(|code| (code.start, code.end - code.start));
    let ranges: Vec<(u64, u64)> = std::iter::once((shared_at, wanted.shared_len)).chain(code).collect();
    tracing(|| load::unload(load::some_thread(target, gadgets)?, &ranges, &[]))
}

impl Session {
    /// A session whose memory is mapped and empty, and which has no hooks yet.
    fn of(
        target: Target,
        (parts, facts): (Parts, Facts),
        plan: &Plan,
        options: &AttachOptions,
        (cap, ticks): (Cap, Ticks),
    ) -> Self {
        let Parts { shared, shared_at, page, keeper, collector, modules } = parts;
        Self {
            target,
            facts,
            shared,
            page,
            keeper,
            kinds: options.kinds,
            collector,
            modules,
            settings: Settings::default(),
            overwritten: 0,
            expire: options.expire,
            changed: plan.note.changed.clone(),
            wanted: plan.wanted,
            shared_at,
            gadgets: plan.gadgets,
            attached: false,
            ended: None,
            halted: None,
            mode: options.modes.first(),
            rate: options.modes.rate_shift(),
            meter: Meter::new(&ticks),
            ticks,
            governor: (options.modes.choice == ModeChoice::Auto).then(|| Governor::new(options.modes.max_overhead)),
            overhead: Overhead::default(),
            cap,
            limits: Limits::NONE,
            stacks_max: options.stacks_max.saturating_add(1),
            is_short: false,
            sweep: Sweep::Nothing,
            any_function: !(options.alloc.is_empty() && options.free.is_empty()),
        }
    }

    /// Fills the memory and lets the hooks begin. Says how long all threads stood still.
    fn put_hooks_in(&mut self, plan: &Plan, options: &AttachOptions) -> Result<Duration, AttachError> {
        self.fill(plan, options).map_err(|error| self.target.failed("fill the shared memory", &error))?;
        if let Some(found) = self.cap.refusal(self.used()) {
            return Err(AttachError::NoRoom { pid: self.target.pid(), found });
        }
        self.limit(0);
        self.modules.limit(self.cap.room_for_code(self.used()));
        let armed = arm::arm(&self.target, &plan.relocations, || self.keeper.listen());
        armed.map_err(|error| self.target.failed("put the hooks in", &error))
    }

    /// Everything counted until now.
    pub fn snapshot(&mut self) -> Result<Snapshot, SessionError> {
        self.mend();
        self.modules.refresh(self.cap.room_for_code(self.used()));
        let expire = self.ticks.ticks(self.expire);
        self.control().expire_ticks.store(expire, Relaxed);
        let unreadable = |error: io::Error| SessionError::Unreadable(error.to_string());
        let how = read::How { expire, rate: self.rate, ended: self.ended.or(self.halted) };
        let (mut snapshot, work) =
            read::snapshot(&self.shared, self.page.control(), &self.ticks, how).map_err(unreadable)?;
        if self.attached {
            self.weigh_cost(snapshot.at, work);
            self.limit(snapshot.losses.blocks_unrecorded);
            self.set_mode();
            self.sweep.beat(self.mode == Mode::Exact, &self.shared, self.page.control());
        }
        // After an exec the memory is another program's.
        if self.target() == TargetState::Running {
            snapshot.private_memory = self.target.private_memory();
        }
        snapshot.losses.entries_corrupt = snapshot.losses.entries_corrupt.saturating_add(self.overwritten);
        let is_cap = self.limits.explains(snapshot.losses.blocks_unrecorded, self.stacks_max);
        snapshot.losses.memory_cap = is_cap.then_some(self.cap.bytes);
        snapshot.coverage.kinds = self.kinds;
        if let Some(collector) = &self.collector {
            collector.add_to(&mut snapshot, &self.ticks, expire, self.ended);
        }
        snapshot.overhead = self.overhead;
        snapshot.mode = self.mode;
        Ok(snapshot)
    }

    /// What has to be known of the attach besides its figures.
    pub fn remarks(&self) -> Vec<String> {
        let cap = self.cap.bytes;
        let short =
            format!("a sample is recorded, since little is left of the {cap} that records may take (--max-memory)");
        let refused = self.modules.refused();
        let without_rows = (refused > 0).then(|| {
            format!("{refused} modules found no room for their unwind tables in the {cap} that records may take (--max-memory): stacks through them may end early")
        });
        self.cap.remark().into_iter().chain(self.is_short.then_some(short)).chain(without_rows).collect()
    }

    fn used(&self) -> Used {
        // What cannot be read counts as all of it.
        let occupied = self.shared.occupied().unwrap_or(self.cap.bytes.0);
        Used::of(self.control(), occupied, self.collector.as_ref().map_or(0, Collector::unwritten))
    }

    /// Keeps the records below their cap: what may come is limited anew, and in auto mode a sample must do before that hurts.
    fn limit(&mut self, unrecorded: u64) {
        let used = self.used();
        if self.governor.is_some() && (unrecorded > 0 || self.cap.is_short(used)) {
            self.mode = Mode::Sampled { rate: Bytes(1 << self.rate) };
            self.governor = None;
            self.is_short = true;
            self.meter.restart();
        }
        self.limits = self.cap.limits(used, self.stacks_max);
        self.limits.set(self.control());
        self.settings = Settings::of(self.control());
    }

    /// Tells the agent which blocks to record. The target may have overwritten what it was told before.
    fn set_mode(&self) {
        let mode = if self.mode == Mode::Exact { wire::Mode::EXACT } else { wire::Mode::sampled(self.rate) };
        self.control().set_mode(mode);
    }

    /// Measures what the hooks cost, and changes the mode where that is called for.
    fn weigh_cost(&mut self, at: Duration, work: Work) {
        let is_exact = self.mode == Mode::Exact;
        let Some(used) = process::used_time(self.target.pid().0) else { return };
        let Some(shares) = self.meter.beat(at, used, work, is_exact, &self.ticks) else { return };
        let exact = Reading::from_option(shares.exact, Why::NotRecorded);
        // The one share of a processor that is measured stands to the other as the shares of the target do.
        let of_processor =
            shares.exact.filter(|exact| *exact > 0.0).map(|exact| shares.exact_of_processor * shares.now / exact);
        let of_processor = Reading::from_option(of_processor, Why::NotRecorded);
        self.overhead = Overhead { now: Reading::Known(shares.now), exact, of_processor };
        let (Some(governor), Some(share)) = (&mut self.governor, shares.exact) else { return };
        let share = Cost { share, of_processor: shares.exact_of_processor, is_settled: shares.is_settled };
        if governor.changes(at, is_exact, share) {
            self.mode = if is_exact { Mode::Sampled { rate: Bytes(1 << self.rate) } } else { Mode::Exact };
            self.meter.restart();
        }
    }

    /// The return addresses of one stack, innermost first.
    pub fn stack(&mut self, id: StackId) -> Option<Vec<(Address, FrameTrust)>> {
        let id = self.collector.as_ref().and_then(|collector| collector.stack_of(id)).unwrap_or(id);
        read::stack(&self.shared, self.page.control(), id)
    }

    /// The target's mappings as they were last read, in the form of `/proc/PID/maps`.
    pub fn maps(&self) -> Arc<[u8]> {
        self.modules.maps()
    }

    /// Whether the target still runs.
    pub fn target(&mut self) -> TargetState {
        self.notice_halt();
        let mut word = [0; 8];
        let link = self.wanted.code_at + self.wanted.link_page;
        // The memory of a program that ended or called `exec` is empty.
        match self.target.read(link, &mut word) {
            Ok(8) => TargetState::Running,
            _ if self.target.is_alive() => TargetState::Executed,
            _ => TargetState::Exited,
        }
    }

    fn notice_halt(&mut self) {
        let is_halted = matches!(self.target.thread_state(self.target.pid().0), Some('T' | 't'));
        self.halted = is_halted.then(|| self.halted.unwrap_or_else(Ticks::now));
    }

    /// What is known of the attach.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Takes the hooks out; the target is afterwards as it was, apart from what [`Detached::left`] lists.
    pub fn detach(mut self) -> Detached {
        let hooks = self.take_hooks_out();
        // What the memory holds is read before it is given back.
        let snapshot = self.snapshot().unwrap_or_default();
        let (longest_stop, left) = self.take_memory_out(hooks);
        Detached { snapshot, longest_stop, left }
    }

    pub(crate) fn control(&self) -> &Control {
        self.page.control()
    }

    pub(crate) fn process(&self) -> &Target {
        &self.target
    }

    pub(crate) fn clock(&self) -> &Ticks {
        &self.ticks
    }

    pub(crate) fn shared(&self) -> &SharedFile {
        &self.shared
    }

    /// What leakline mapped into the target.
    pub(crate) fn own_ranges(&self) -> Vec<std::ops::Range<u64>> {
        std::iter::once(self.shared_at..self.shared_at + self.wanted.shared_len).chain(self.wanted.code()).collect()
    }

    /// Writes settings, tables, the agent and, last, the link by which it finds them.
    fn fill(&mut self, plan: &Plan, options: &AttachOptions) -> io::Result<()> {
        let control = self.page.control();
        control.version.store(VERSION, Relaxed);
        control.expire_ticks.store(self.ticks.ticks(options.expire), Relaxed);
        control.generation.store(1, Relaxed);
        self.set_mode();
        control.depth.store(u32::from(options.depth.max(1)), Relaxed);
        control.granule_shift.store(plan.granule_shift, Relaxed);
        control.has_crc32.store(u32::from(image::has_crc32()), Relaxed);
        control.process.store(self.target.process_inside(), Relaxed);
        control.main_stack_low.store(plan.main_stack.0, Relaxed);
        control.main_stack_high.store(plan.main_stack.1, Relaxed);
        control.code_at.store(plan.wanted.code_at, Relaxed);
        control.code_len.store(plan.wanted.code_len, Relaxed);
        control.shared_at.store(self.shared_at, Relaxed);
        control.shared_len.store(plan.wanted.shared_len, Relaxed);
        control.blocks.further.store(1, Relaxed);
        control.stacks.ids.store(1, Relaxed);
        control.magic.store(MAGIC, Release);
        for (at, bytes) in plan.parts() {
            self.target.write(at, &bytes)?;
        }
        self.shared.write(wire::regions::MARKS.at, wire::FIRST_MARKS.as_flattened())?;
        self.shared.write_words32(wire::area_at(0), &[wire::AREA_OF_NOTHING])?;
        let active = wire::Link::activity(self.shared_at, self.mode == Mode::Exact);
        let link = [self.shared_at.to_le_bytes(), active.to_le_bytes()];
        self.target.write(plan.wanted.code_at + plan.image.link, link.as_flattened())
    }

    /// Puts back what a stray write of the target changed in the control page. Hooks that were silenced by it record again.
    fn mend(&mut self) {
        self.overwritten += self.settings.mend(self.page.control());
        if self.attached && !self.keeper.is_listening() {
            self.overwritten += 1;
            self.keeper.listen();
        }
    }

    fn take_out(&mut self) {
        let hooks = self.take_hooks_out();
        self.take_memory_out(hooks);
    }

    /// Puts the code back and waits until no thread can return into the agent.
    fn take_hooks_out(&mut self) -> Out {
        self.keeper.silence();
        self.modules.dismiss();
        self.notice_halt();
        self.ended = self.ended.or(self.halted).or_else(|| Some(Ticks::now()));
        self.attached = false;
        if self.target() != TargetState::Running {
            return Out::Gone;
        }
        match self.disarm() {
            Err(_) if self.target() != TargetState::Running => Out::Gone,
            Err(error) => Out::Failed(error),
            Ok((longest, None)) => Out::Free(longest),
            Ok((longest, Some(why))) => Out::Needed(longest, why),
        }
    }

    /// How long a thread stood still for it at most, and why the agent still has to stay.
    fn disarm(&self) -> io::Result<(Duration, Option<String>)> {
        let (control, code) = (self.page.control(), self.wanted.code());
        self.modules.read_again();
        let attached = Attached { modules: &self.modules, shared: &self.shared, control };
        let inside = ByFrames::of(&self.target, attached, self.any_function, self.overwritten > 0);
        let out = arm::take_out(&self.target, &self.changed, &code, &inside)?;
        let removed_by = format!("`leakline detach {}` removes it when that is gone", self.target.pid());
        let foreign = out.why_kept().map(|why| format!("{why}; {removed_by}"));
        let busy = out.is_busy.then(|| "a thread is still inside the allocator".to_owned());
        Ok((out.stopped, foreign.or(busy)))
    }

    /// Takes away what is mapped, if nobody can return there. Says how long a thread stood still at most, and what stays.
    fn take_memory_out(&self, hooks: Out) -> (Option<Duration>, Vec<String>) {
        match hooks {
            Out::Gone => (None, Vec::new()),
            Out::Free(longest) => match self.unload() {
                Ok(stopped) => (Some(longest.max(stopped)), Vec::new()),
                Err(error) => (Some(longest), self.left(&error.to_string())),
            },
            Out::Needed(longest, why) => (Some(longest), self.left(&why)),
            Out::Failed(error) => {
                let removed_by = format!("`leakline detach {}` removes them", self.target.pid());
                (None, vec![format!("hooks, dormant: {error}; {removed_by}")])
            }
        }
    }

    fn unload(&self) -> io::Result<Duration> {
        // The pages are given back from here: the target would stand still for it, milliseconds for some megabytes. The control
        // page stays, by which a later leakline finds the mappings should this one die now.
        self.shared.file().set_len(regions::ROBUST.end())?;
        fault::point("memory-emptied");
        take_away(&self.target, self.gadgets, &self.wanted, self.shared_at)
    }

    fn left(&self, why: &str) -> Vec<String> {
        let code = self.wanted.code().into_iter();
        let code =
            code.map(|code| format!("{} bytes of unused code at {:#x} ({why})", code.end - code.start, code.start));
        code.chain([format!("the shared memory at {:#x}", self.shared_at)]).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.attached || self.keeper.is_listening() {
            self.take_out();
        } else if self.facts.active_after.is_zero() {
            // The attach failed halfway: no hook was ever in place.
            let _ = self.unload();
        }
    }
}

fn custom_functions(options: &AttachOptions) -> Result<Vec<Custom>, String> {
    let allocating = options.alloc.iter().map(|text| Custom::allocating(text));
    let freeing = options.free.iter().map(|text| Custom::freeing(text));
    allocating.chain(freeing).collect()
}

/// Plans and makes the mappings; plans anew where the target put something else into their place meanwhile.
fn plan_and_load(target: &Target, custom: &[Custom], kinds: Kinds) -> Result<(Vec<u8>, Plan, Loaded), AttachError> {
    const TRIES: u32 = 8;
    let mut tried = 1;
    loop {
        let text = target.maps()?;
        fault::point("maps-read");
        let plan = Plan::make(target, &text, custom, kinds).map_err(|error| target.or_vanished(error))?;
        match load_agent(target, &plan) {
            Ok(loaded) => return Ok((text, plan, loaded)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < TRIES => tried += 1,
            Err(error) => return Err(target.failed("load the agent", &error)),
        }
    }
}

fn load_agent(target: &Target, plan: &Plan) -> io::Result<Loaded> {
    tracing(|| load::load(load::some_thread(target, plan.gadgets)?, plan.wanted))
}

fn facts(target: &Target, plan: &Plan, (threads, mode): (u32, Mode), (cap, stopped): (Cap, Duration)) -> Facts {
    Facts {
        key: target.key,
        allocator: plan.allocator.clone(),
        functions: plan.functions.clone(),
        unhooked: plan.unhooked.clone(),
        longest_stop: stopped,
        active_after: Duration::ZERO,
        threads,
        halted: target.halted,
        mode,
        memory_max: cap.bytes,
    }
}
