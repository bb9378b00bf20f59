//! E15, replicas and standby: users in a closed loop, one more each second, until one of them sees a failure. A node has ten slots, a
//! call takes a second, and a full node answers 503.
//!
//! Score: the mean over three topologies of the answers per second in the ten seconds before the first failure, against all the slots.

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use tower::ServiceExt;

use super::{Outcome, Scenario, Setting};
use crate::clock::{Clock, Ms, virtual_time};
use crate::contestants::{Client, Instance};
use crate::drive::get;
use crate::score::{mean, share};
use crate::server::{Server, lock};
use crate::trace::Law;

pub(super) const SCENARIO: Scenario = Scenario { name: "E15", title: "replicas and standby", run };

const SLOTS: usize = 10;

fn run(setting: &Setting<'_>) -> Outcome {
    // Quoted in real seconds: nothing here is shorter than the grain of the timers.
    let second = (1000.0 * setting.stretch) as Ms;
    let until = 300 * second;
    let brief = setting.brief(10 * second, SLOTS, 100.0);
    let mut outcome = Outcome::default();
    let mut scores = Vec::new();
    for (title, standbys) in
        [("single", &[false][..]), ("2 active and 1 standby", &[false, false, true]), ("3 active", &[false; 3])]
    {
        let (first_failure, ends) = virtual_time(setting.seed, async |clock| {
            let law = Law::Fixed(second as f64);
            let instances: Vec<_> = standbys
                .iter()
                .enumerate()
                .map(|(id, is_standby)| {
                    let server = Server::new(clock, setting.trace(), law, SLOTS).with_id(id as u32).without_queue();
                    let wire = setting.wire(clock, &brief, &server, 1);
                    Instance { wire, is_standby: *is_standby }
                })
                .collect();
            let clients = setting.balanced(&brief, &instances);
            let answers = Arc::new(Mutex::new(Answers { first_failure: until, ends: Vec::new() }));
            for user in 0..until / second {
                clock.sleep_until(user * second).await;
                if lock(&answers).first_failure < clock.now() {
                    break;
                }
                let client = clients[user as usize % clients.len()].clone();
                let chance = setting.trace().of_part(user).generator();
                tokio::spawn(live(clock, client, Arc::clone(&answers), chance, second));
            }
            let answers = lock(&answers);
            (answers.first_failure, answers.ends.clone())
        });
        let last = first_failure.saturating_sub(10 * second)..first_failure;
        let rate = ends.iter().filter(|end| last.contains(end)).count() as f64 / 10.0;
        scores.push(share(rate, (standbys.len() * SLOTS) as f64));
        outcome.details.push((format!("calls in a service time, {title}"), rate));
    }
    Outcome { score: mean(scores.into_iter()), ..outcome }
}

struct Answers {
    first_failure: Ms,
    ends: Vec<Ms>,
}

/// A user: thinks for one to five seconds, calls, and waits for up to ten seconds.
async fn live(clock: Clock, client: Client, answers: Arc<Mutex<Answers>>, mut chance: fastrand::Rng, second: Ms) {
    loop {
        let think = (second as f64 * (1.0 + 4.0 * chance.f64())) as Ms;
        clock.sleep(think).await;
        let call = client.clone().oneshot(get(0, ""));
        let answer = clock.bound(Some(10 * second), async {
            match call.await {
                Ok(response) => response.status().is_success() && response.into_body().collect().await.is_ok(),
                Err(_) => false,
            }
        });
        let succeeded = answer.await == Some(true);
        let mut answers = lock(&answers);
        if succeeded {
            answers.ends.push(clock.now());
        } else {
            answers.first_failure = answers.first_failure.min(clock.now());
        }
    }
}
