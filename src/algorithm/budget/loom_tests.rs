use super::funded::Funded;
use super::*;
use crate::ground::sync::Arc;

const NOW: Instant = Instant::from_nanos(1 << 63);
const TTL: Duration = Duration::from_secs(2);

fn both<T: Send + 'static, U>(
    ledger: &Arc<Funded>,
    theirs: impl FnOnce(&Funded) -> T + Send + 'static,
    ours: impl FnOnce(&Funded) -> U,
) -> (T, U) {
    let shared = Arc::clone(ledger);
    let thread = loom::thread::spawn(move || theirs(&shared));
    let ours = ours(ledger);
    (thread.join().expect("no panic"), ours)
}

/// One token in two buckets, and two withdrawals: never both succeed. (tower reads the balance and then takes.)
#[test]
fn loom_race_does_not_overdraw_deposits() {
    loom::model(|| {
        let ledger = Arc::new(Funded::new(0.75, TTL, 0.0, 0));
        ledger.deposit(NOW);
        let now = NOW + TTL / 2;
        ledger.deposit(now);
        let (theirs, ours) = both(&ledger, move |ledger| ledger.withdraw(now), |ledger| ledger.withdraw(now));
        assert!(theirs.is_none() || ours.is_none());
        let left = ledger.deposited(now);
        let taken = if theirs.is_some() || ours.is_some() { 10_000 } else { 0 };
        assert_eq!(left + taken, 15_000, "what was not withdrawn is still there");
    });
}

/// A reserve of one token, and two withdrawals.
#[test]
fn loom_race_does_not_overdraw_the_reserve() {
    loom::model(|| {
        let ledger = Arc::new(Funded::new(0.0, TTL, 1.0, 1));
        let take = |ledger: &Funded| {
            let claim = ledger.withdraw(NOW)?;
            ledger.spend(claim, NOW);
            Some(())
        };
        let (theirs, ours) = both(&ledger, take, take);
        assert!(theirs.is_some() != ours.is_some());
        assert_eq!(ledger.balance(NOW), 0);
    });
}

/// A refund races with a withdrawal and with the bucket's next round: no token exists twice.
#[test]
fn loom_refund_adds_no_token() {
    loom::model(|| {
        let ledger = Arc::new(Funded::new(1.0, TTL, 1.0, 1));
        ledger.deposit(NOW);
        let claim = ledger.withdraw(NOW).expect("one deposit");
        let later = NOW + TTL;
        let (_, second) = both(
            &ledger,
            |ledger| ledger.refund(claim),
            |ledger| {
                ledger.deposit(later);
                ledger.withdraw(later).is_some()
            },
        );
        assert!(second);
        assert_eq!(ledger.balance(later), 1, "only the reserve: the refunded token has expired");
    });
}

/// One token of a reserve of two is spent when its rate changes, while two withdrawals race for the last: one succeeds, at any
/// rate.
#[test]
fn loom_reserve_change_adds_no_token() {
    loom::model(|| {
        let ledger = Arc::new(Funded::new(0.0, TTL, 0.001, 2));
        let spent = ledger.withdraw(NOW).expect("two are there");
        ledger.spend(spent, NOW);
        let take = |ledger: &Funded| ledger.withdraw(NOW).map(|claim| ledger.spend(claim, NOW)).is_some();
        let (theirs, ours) = both(&ledger, take, |ledger| {
            ledger.reload(0.0, TTL, 1000.0, 4, NOW);
            take(ledger)
        });
        assert!(theirs != ours);
        assert_eq!(ledger.balance(NOW), 0);
    });
}

/// The time to live changes while a call deposits: the deposit exists once, before and after.
#[test]
fn loom_deposit_survives_a_change_of_ttl() {
    loom::model(|| {
        let ledger = Arc::new(Funded::new(1.0, TTL, 0.0, 0));
        let (_, seen) = both(
            &ledger,
            |ledger| ledger.deposit(NOW),
            |ledger| {
                ledger.reload(1.0, TTL * 10, 0.0, 0, NOW);
                ledger.balance(NOW)
            },
        );
        assert!(seen <= 1);
        assert_eq!(ledger.balance(NOW), 1);
        assert_eq!(ledger.balance(NOW + TTL * 20), 0);
    });
}
