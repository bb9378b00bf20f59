//! Calls that race with each other and with a reload. No model waits for a token to grow back, so the clock has no effect.

use super::*;

const CONFIG: BudgetConfig =
    BudgetConfig { ratio: 0.0, ttl: Duration::from_secs(60), reserve_per_second: 0.001, reserve_burst: 2 };

/// Makes a retry, if there is a token.
fn retry(budget: &Budget) -> bool {
    let withdrawal = budget.withdraw(time::now());
    withdrawal.is_ok_and(|mut withdrawal| {
        withdrawal.mark(true);
        true
    })
}

/// One token of a reserve of two is spent. Two retries race for the last one while the rate and the burst change: one succeeds.
#[test]
fn loom_reload_adds_no_token() {
    loom::model(|| {
        let budget = Budget::valid(&CONFIG);
        assert!(retry(&budget));
        let theirs = budget.clone();
        let thread = loom::thread::spawn(move || retry(&theirs));
        budget.reload(&BudgetConfig { reserve_per_second: 0.002, reserve_burst: 4, ..CONFIG }).expect("valid");
        let ours = retry(&budget);
        assert!(ours ^ thread.join().expect("no panic"));
        assert_eq!(budget.balance(), 0);
    });
}

/// The time to live changes while a call deposits: the deposit exists once, before and after.
#[test]
fn loom_deposit_survives_a_change_of_ttl() {
    loom::model(|| {
        let config = BudgetConfig { ratio: 1.0, reserve_per_second: 0.0, ..CONFIG };
        let budget = Budget::valid(&config);
        let theirs = budget.clone();
        let thread = loom::thread::spawn(move || theirs.deposit(time::now()));
        budget.reload(&BudgetConfig { ttl: Duration::from_secs(30), ..config }).expect("valid");
        assert!(budget.balance() <= 1);
        thread.join().expect("no panic");
        assert_eq!(budget.balance(), 1);
    });
}
