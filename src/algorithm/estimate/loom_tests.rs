use super::*;
use crate::ground::sync::Arc;

#[test]
fn loom_mean_loses_no_sample() {
    loom::model(|| {
        let estimate = Arc::new(Estimate::new());
        let now = Instant::from_nanos(1 << 40);
        let took = |nanos| Took::from(Duration::from_nanos(nanos));
        estimate.sample(now, took(64));
        let theirs = Arc::clone(&estimate);
        let thread = loom::thread::spawn(move || theirs.sample(now, took(64)));
        estimate.sample(now, took(64));
        thread.join().expect("no panic");
        let mean = Mean::unpack(estimate.mean.load(Ordering::Acquire));
        assert_eq!((mean.nanos, mean.weight), (64.0, 3.0));
    });
}
