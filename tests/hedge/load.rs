//! Ten servers under load, with and without hedges.

use seawall::verdict::AtResponse;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::*;

const SERVERS: usize = 10;
/// How long a server works on a usual call.
const WORK: Duration = millis(10);

/// How long servers work on a call.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// One call in a hundred takes twenty times as long.
    RarelySlow,
    /// Exponentially distributed.
    Exponential,
    /// Three calls in a hundred take six hundred times as long as the others, wherever they are executed.
    LongByNature,
}

impl Work {
    fn draw(self, call: u32, rng: &mut fastrand::Rng) -> Duration {
        match self {
            Self::LongByNature if call % 100 < 3 => 300 * WORK,
            Self::LongByNature => WORK / 2,
            Self::RarelySlow if rng.u32(..100) == 0 => 20 * WORK,
            Self::RarelySlow => WORK,
            Self::Exponential => WORK.mul_f64(-(1.0 - rng.f64()).ln()),
        }
    }

    fn mean(self) -> Duration {
        match self {
            Self::RarelySlow => WORK.mul_f64(0.99 + 0.2),
            Self::Exponential => WORK,
            Self::LongByNature => WORK.mul_f64(0.97 / 2.0 + 0.03 * 300.0),
        }
    }
}

/// Servers that each work on some calls at a time, and queue the others in order.
#[derive(Debug)]
struct Fleet {
    servers: Vec<Arc<Semaphore>>,
    work: Work,
    rng: Mutex<fastrand::Rng>,
    attempts: AtomicUsize,
    /// The time of all servers at work.
    busy: Mutex<Duration>,
}

/// Counts the work until it is dropped, done or not.
struct Working<'a>(&'a Fleet, Instant);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        *self.0.busy.lock().unwrap() += self.1.elapsed();
    }
}

impl Fleet {
    fn new(seed: u64, work: Work, slots: usize) -> Arc<Self> {
        Arc::new(Self {
            servers: (0..SERVERS).map(|_| Arc::new(Semaphore::new(slots))).collect(),
            work,
            rng: Mutex::new(fastrand::Rng::with_seed(seed + 2)),
            attempts: AtomicUsize::new(0),
            busy: Mutex::default(),
        })
    }

    /// A call whose first attempt goes to a random server, and the second one to its neighbour.
    async fn serve(self: Arc<Self>, call: u32, first: usize) -> Result<(), BoxError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        let server = (first + context::attempt().saturating_sub(1) as usize) % SERVERS;
        let _slot = self.servers[server].acquire().await?;
        let work = self.work.draw(call, &mut self.rng.lock().unwrap());
        let _working = Working(&self, Instant::now());
        sleep(work).await;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Outcome {
    mean: Duration,
    p99: Duration,
    p999: Duration,
    attempts: f64,
    busy: f64,
}

/// So many calls at this utilisation of servers that work on some calls at a time.
async fn run(calls: u32, work: Work, slots: usize, utilisation: f64, layer: Option<HedgeLayer>) -> Outcome {
    run_from(3, calls, work, slots, utilisation, layer).await
}

/// As [`run`], with arrivals and work of this seed.
async fn run_from(
    seed: u64,
    calls: u32,
    work: Work,
    slots: usize,
    utilisation: f64,
    layer: Option<HedgeLayer>,
) -> Outcome {
    let fleet = Fleet::new(seed, work, slots);
    let between = work.mean().div_f64(utilisation * (SERVERS * slots) as f64);
    let serving = Arc::clone(&fleet);
    let callee = service_fn(move |(call, first)| Arc::clone(&serving).serve(call, first));
    let service = match layer {
        Some(layer) => BoxCloneSyncService::new(layer.with_classifier(AtResponse::default()).layer(callee)),
        None => BoxCloneSyncService::new(callee),
    };
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut tasks, mut next) = (JoinSet::new(), Instant::now());
    let start = next;
    for call in 0..calls {
        next += between.mul_f64(-(1.0 - rng.f64()).ln());
        let (service, first, at) = (service.clone(), rng.usize(..SERVERS), next);
        tasks.spawn(async move {
            tokio::time::sleep_until(at).await;
            let start = Instant::now();
            service.oneshot((call, first)).await.unwrap();
            start.elapsed()
        });
    }
    let mut times = tasks.join_all().await;
    times.sort_unstable();
    let at = |share: f64| times[(f64::from(calls) * share) as usize];
    let (mean, attempts) = (times.iter().sum::<Duration>() / calls, fleet.attempts.load(Ordering::SeqCst));
    let busy = fleet.busy.lock().unwrap().as_secs_f64() / start.elapsed().as_secs_f64() / (SERVERS * slots) as f64;
    Outcome { mean, p99: at(0.99), p999: at(0.999), attempts: attempts as f64 / f64::from(calls), busy }
}

fn by_default() -> Option<HedgeLayer> {
    Some(layer(HedgeConfig::default()))
}

/// *The Tail at Scale*: 1 % of the calls take twenty times as long.
#[tokio::test(start_paused = true)]
async fn rare_slowness_is_hedged_for_little_load() {
    seawall::seed(42);
    let without = run(20_000, Work::RarelySlow, 10, 0.3, None).await;
    let with = run(20_000, Work::RarelySlow, 10, 0.3, by_default()).await;
    assert!(with.p999 <= without.p999 / 5, "{with:?} instead of {without:?}");
    assert!(with.attempts <= 1.1 && with.busy <= 1.1 * without.busy, "{with:?} instead of {without:?}");
}

/// At high load a hedge could make things worse: the hedged calls queue, and so do their hedges.
#[tokio::test(start_paused = true)]
async fn hedges_do_no_harm_at_high_utilisation() {
    seawall::seed(42);
    for work in [Work::RarelySlow, Work::Exponential] {
        for slots in [1, 10] {
            let (mut without, mut with) = ([Duration::ZERO; 3], [Duration::ZERO; 3]);
            for seed in 0..8 {
                for (sum, layer) in [(&mut without, None), (&mut with, by_default())] {
                    let Outcome { mean, p99, p999, .. } = run_from(seed, 10_000, work, slots, 0.9, layer).await;
                    sum.iter_mut().zip([mean, p99, p999]).for_each(|(sum, time)| *sum += time);
                }
            }
            println!("{work:?} on {slots} slots: mean, p99 and p99.9 {with:?}, without hedges {without:?}");
            assert!(
                with.iter().zip(without).all(|(with, without)| *with <= without),
                "{with:?} instead of {without:?}"
            );
        }
    }
}

/// Beyond the capacity nothing helps, and hedges must not add to it: the learned delay grows with the latency.
#[tokio::test(start_paused = true)]
async fn hedges_do_no_harm_in_overload() {
    seawall::seed(42);
    let without = run(5_000, Work::Exponential, 1, 1.2, None).await;
    let with = run(5_000, Work::Exponential, 1, 1.2, by_default()).await;
    assert!(with.mean <= without.mean.mul_f64(1.02), "{with:?} instead of {without:?}");
}

/// Three calls in a hundred are 95 % of the work. A hedge of each of them would cost few tokens, and double the load.
#[tokio::test(start_paused = true)]
async fn calls_that_are_long_by_nature_are_hardly_hedged() {
    seawall::seed(42);
    let without = run(20_000, Work::LongByNature, 10, 0.3, None).await;
    let with = run(20_000, Work::LongByNature, 10, 0.3, by_default()).await;
    assert!(with.attempts > 1.0 && with.busy <= 1.06 * without.busy, "{with:?} instead of {without:?}");
}
