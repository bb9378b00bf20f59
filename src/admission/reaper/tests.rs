#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Records its visits, and returns a fixed result.
struct RecordingEntry {
    visited: std::sync::Mutex<Vec<Instant>>,
    then: Visit,
}

impl RecordingEntry {
    fn new(then: Visit) -> Arc<Self> {
        Arc::new(Self { visited: std::sync::Mutex::default(), then })
    }

    fn visits(&self) -> Vec<Instant> {
        self.visited.lock().unwrap().clone()
    }
}

impl Parked for RecordingEntry {
    fn visit(&self, now: Instant) -> Visit {
        let mut visited = self.visited.lock().unwrap();
        visited.push(now);
        if visited.len() > 1 { Visit::Done } else { self.then }
    }
}

async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn entry_is_visited_once_when_due() {
    let recording = RecordingEntry::new(Visit::Done);
    let due = time::now() + SECOND;
    let guard = watch(Arc::clone(&recording) as _, due).unwrap();
    sleep(SECOND - Duration::from_millis(1)).await;
    assert_eq!(recording.visits(), []);
    sleep(9 * SECOND).await;
    assert!(matches!(recording.visits()[..], [at] if due <= at && at <= due + GRAIN + Duration::from_millis(1)));
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn removed_entry_is_neither_visited_nor_kept() {
    let recording = RecordingEntry::new(Visit::Done);
    drop(watch(Arc::clone(&recording) as _, time::now() + SECOND).unwrap());
    assert_eq!(Arc::strong_count(&recording), 1);
    sleep(2 * SECOND).await;
    assert_eq!(recording.visits(), []);
}

#[tokio::test(start_paused = true)]
async fn entry_is_visited_again_on_request() {
    let start = time::now();
    let recording = RecordingEntry::new(Visit::Again(start + 3 * SECOND));
    let _guard = watch(Arc::clone(&recording) as _, start + SECOND).unwrap();
    sleep(10 * SECOND).await;
    let visits = recording.visits();
    assert_eq!(visits.len(), 2);
    assert!(visits[1].since(start + 3 * SECOND) <= GRAIN + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn earlier_entry_wakes_the_reaper() {
    let (late, early) = (RecordingEntry::new(Visit::Done), RecordingEntry::new(Visit::Done));
    let _late = watch(Arc::clone(&late) as _, time::now() + 60 * SECOND).unwrap();
    sleep(SECOND).await;
    let _early = watch(Arc::clone(&early) as _, time::now() + SECOND).unwrap();
    sleep(2 * SECOND).await;
    assert_eq!((early.visits().len(), late.visits().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn youngest_of_equal_due_times_is_visited_first() {
    struct Named(&'static str, Arc<std::sync::Mutex<Vec<&'static str>>>);
    impl Parked for Named {
        fn visit(&self, _: Instant) -> Visit {
            self.1.lock().unwrap().push(self.0);
            Visit::Done
        }
    }
    let order = Arc::default();
    let due = time::now() + SECOND;
    let _guards = ["inner", "middle", "outer"].map(|name| watch(Arc::new(Named(name, Arc::clone(&order))), due));
    sleep(2 * SECOND).await;
    assert_eq!(*order.lock().unwrap(), ["outer", "middle", "inner"]);
}

#[tokio::test(start_paused = true)]
async fn panicking_visit_does_not_stop_others() {
    struct Panics;
    impl Parked for Panics {
        fn visit(&self, _: Instant) -> Visit {
            panic!("in a destructor");
        }
    }
    let other = RecordingEntry::new(Visit::Done);
    let _other = watch(Arc::clone(&other) as _, time::now() + SECOND).unwrap();
    let _panics = watch(Arc::new(Panics), time::now() + SECOND).unwrap();
    sleep(2 * SECOND).await;
    assert_eq!(other.visits().len(), 1);
}

#[test]
fn reaper_ends_with_its_runtime() {
    assert!(watch(RecordingEntry::new(Visit::Done), Instant::MAX).is_none(), "there is no runtime");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut guards = Vec::new();
    for _ in 0..3 {
        let runtime = runtime();
        let guard = runtime.block_on(async {
            let first = watch(RecordingEntry::new(Visit::Done), time::now() + SECOND).unwrap();
            let second = watch(RecordingEntry::new(Visit::Done), time::now() + SECOND).unwrap();
            assert!(Arc::ptr_eq(&first.reaper, &second.reaper), "one per runtime");
            second
        });
        assert!(guard.is_watched());
        drop(runtime);
        assert!(!guard.is_watched());
        guards.push(guard);
    }
    let runtime = runtime();
    let _guard = runtime.enter();
    drop(watch(RecordingEntry::new(Visit::Done), Instant::MAX));
    let reapers = REAPERS.load_full().unwrap();
    let is_kept = |guard: &WatchGuard| reapers.iter().any(|(_, reaper)| Arc::ptr_eq(reaper, &guard.reaper));
    assert!(!guards.iter().any(is_kept), "ended reapers are removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_entries_leave_nothing_behind() {
    let visited = Arc::new(AtomicUsize::new(0));
    struct Counts(Arc<AtomicUsize>);
    impl Parked for Counts {
        fn visit(&self, _: Instant) -> Visit {
            self.0.fetch_add(1, Ordering::Relaxed);
            Visit::Done
        }
    }
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let visited = Arc::clone(&visited);
            tokio::spawn(async move {
                for n in 0..1000_u64 {
                    let due = time::now() + Duration::from_millis(n % 7);
                    let guard = watch(Arc::new(Counts(Arc::clone(&visited))), due);
                    if n % 3 == 0 {
                        tokio::task::yield_now().await;
                    }
                    drop(guard);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let reaper = Reaper::of_runtime(&Handle::current()).unwrap();
    assert_eq!(reaper.lock().schedule.next(), None);
    // A round may be in progress.
    let start = std::time::Instant::now();
    while Arc::strong_count(&visited) > 1 {
        assert!(start.elapsed() < 300 * SECOND, "something is left");
        tokio::task::yield_now().await;
    }
}

proptest! {
    /// Against a list that is searched from end to end.
    #[test]
    fn schedule_matches_a_list(steps in prop::collection::vec((0_u8..4, 0_u64..60, any::<prop::sample::Index>()), 1..200)) {
        let at = |ms: u64| Instant::from_nanos(1 << 40) + Duration::from_millis(ms);
        let grain = time::nanos(GRAIN);
        let round = |at: Instant| at.as_nanos().div_ceil(grain) * grain;
        let mut schedule = Schedule::default();
        // Due (none while it is being visited), entry.
        let mut model: Vec<(Option<u64>, EntryId)> = Vec::new();
        for (step, ms, index) in steps {
            match step {
                0 | 1 => {
                    let entry = schedule.insert(RecordingEntry::new(Visit::Done), at(ms));
                    model.push((Some(round(at(ms))), entry));
                }
                2 if !model.is_empty() => {
                    let (_, entry) = model.remove(index.index(model.len()));
                    prop_assert!(schedule.remove(entry).is_some());
                    prop_assert!(schedule.remove(entry).is_none());
                    schedule.again(entry, at(ms));
                }
                _ => {
                    let due = model.iter().enumerate().filter_map(|(slot, (due, _))| Some(((*due)?, std::cmp::Reverse(slot))))
                        .filter(|(due, _)| *due <= at(ms).as_nanos()).min();
                    let taken = schedule.take_due(at(ms)).map(|(entry, _)| entry);
                    prop_assert_eq!(taken, due.map(|(_, std::cmp::Reverse(slot))| model[slot].1));
                    if let Some((_, std::cmp::Reverse(slot))) = due {
                        model[slot].0 = None;
                        if index.index(2) == 0 {
                            schedule.again(model[slot].1, at(ms + 30));
                            model[slot].0 = Some(round(at(ms + 30)));
                        }
                    }
                }
            }
            prop_assert_eq!(schedule.next().map(Instant::as_nanos), model.iter().filter_map(|(due, _)| *due).min());
        }
    }
}

/// On a runtime with one thread, all other tasks wait while the reaper visits.
#[tokio::test(start_paused = true)]
async fn many_due_entries_yield_to_other_tasks() {
    struct Counted(Arc<AtomicUsize>);
    impl Parked for Counted {
        fn visit(&self, _: Instant) -> Visit {
            self.0.fetch_add(1, Ordering::Relaxed);
            Visit::Done
        }
    }
    let visits = Arc::new(AtomicUsize::new(0));
    let due = time::now() + SECOND;
    let recording: Arc<dyn Parked> = Arc::new(Counted(Arc::clone(&visits)));
    let guards: Vec<_> = (0..10_000).map(|_| watch(Arc::clone(&recording), due).unwrap()).collect();
    let bystander = tokio::spawn(async move {
        let (mut before, mut most) = (0, 0);
        while before < 10_000 {
            let now = visits.load(Ordering::Relaxed);
            most = most.max(now - before);
            before = now;
            // To the end of the queue; tokio's own yield waits for the driver.
            let mut yielded = false;
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        most
    });
    tokio::time::advance(SECOND + GRAIN).await;
    let most = bystander.await.unwrap();
    assert!(most <= 256, "{most} without a yield");
    drop(guards);
}

/// Other entries stay registered meanwhile, and their owners wait for the same lock.
#[test]
fn removal_cost_is_independent_of_earlier_removals() {
    const MANY: u64 = 1 << 18;
    let mut schedule = Schedule::default();
    let recording: Arc<dyn Parked> = RecordingEntry::new(Visit::Done);
    let at = |n: u64| Instant::from_nanos(1 << 40) + Duration::from_millis(n % 60_000);
    let entries: Vec<_> = (0..MANY).map(|n| schedule.insert(Arc::clone(&recording), at(n * 7919))).collect();
    let mut most = 0;
    for n in 0..MANY {
        // In no order: an odd number reaches all.
        let entry = entries[(n * 104_729 % MANY) as usize];
        let before = schedule::compared::COUNT.get();
        assert!(schedule.remove(entry).is_some());
        assert!(n > 0 || schedule.next().is_some());
        most = most.max(schedule::compared::COUNT.get() - before);
    }
    assert!(most <= 128, "{most} keys were compared");
    assert_eq!(schedule.next(), None);
}

/// On a runtime with more than one thread.
#[test]
fn hanging_visit_does_not_block_others() {
    struct Hangs(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);
    impl Parked for Hangs {
        fn visit(&self, _: Instant) -> Visit {
            let _ = self.0.lock().unwrap().recv();
            Visit::Done
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let _inside = runtime.enter();
    let (release, until) = std::sync::mpsc::channel();
    let due = time::now() + Duration::from_millis(20);
    let entries = [0, 0, 60, 300].map(|later| (RecordingEntry::new(Visit::Done), due + Duration::from_millis(later)));
    let watched = |(recording, due): &(Arc<RecordingEntry>, Instant)| watch(Arc::clone(recording) as _, *due).unwrap();
    let before = watched(&entries[0]);
    let hangs = watch(Arc::new(Hangs(std::sync::Mutex::new(until))), due).unwrap();
    let after = [1, 2, 3].map(|n| watched(&entries[n]));
    let start = std::time::Instant::now();
    while entries.iter().any(|(recording, _)| recording.visits().is_empty()) {
        assert!(start.elapsed() < 300 * SECOND, "{:?}", entries.map(|(recording, _)| recording.visits().len()));
        std::thread::sleep(Duration::from_millis(1));
    }
    drop((before, hangs, after, release));
}
