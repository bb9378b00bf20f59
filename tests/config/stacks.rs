//! All stacks of a process from one file, which is watched for changes.
#![allow(clippy::disallowed_methods, reason = "tests sleep in virtual time")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use seawall::balance::Endpoint;
use seawall::config::{Config, Draft};
use seawall::error::InvalidConfig;
use seawall::registry::{Condition, Registry};
use seawall::stack::{SettingsFile, Stacks};
use tokio::time::sleep;

use crate::{listed, load};

const FILE: &str = "[client.payments]\nbulkhead.max_concurrent = 16\n[server.inbound]\nload_shed.max_in_flight = 64\n";

fn read(text: &str) -> Result<Config, InvalidConfig> {
    toml::from_str::<Draft>(text).map_err(InvalidConfig::unreadable)?.load()
}

fn stacks() -> (Registry, Stacks) {
    let registry = Registry::new();
    let stacks = Stacks::new_in(&registry, "settings.toml", load(FILE).unwrap()).unwrap();
    (registry, stacks)
}

#[test]
fn stack_of_a_name_is_built_once() {
    let (registry, stacks) = stacks();
    let payments = stacks.client("payments").unwrap();
    assert_eq!(payments.bulkhead().limit(), 16);
    payments.bulkhead().set_limit(7.try_into().unwrap());
    assert_eq!(stacks.client("payments").unwrap().bulkhead().limit(), 7, "one name has one state");
    assert_eq!(stacks.server("inbound").unwrap().load_shed().limit(), 64);
    assert_eq!(registry.snapshot().of("payments").count(), 5);
    assert_eq!(
        listed(&stacks.grpc_client("payments").unwrap_err()),
        ["client.payments: the name is taken by a stack for the other protocol"]
    );
}

#[test]
fn name_of_both_a_client_and_a_server_is_a_fault() {
    let shared = || load("[client.stock]\n[server.stock]\n[server.shop]").unwrap();
    let said = "server.stock: a client has this name, too, and a name is taken by one stack: rename one of them";
    let refused = Stacks::new_in(&Registry::new(), "settings.toml", shared()).unwrap_err();
    assert_eq!(listed(&refused), [said]);
    let (_registry, stacks) = stacks();
    assert!(listed(&stacks.reload(Ok(shared())).unwrap_err()).iter().any(|fault| fault == said));
}

#[test]
fn balanced_client_is_made_and_reloaded_with_the_others() {
    let registry = Registry::new();
    let text = |limit: u32| format!("[balanced_client.search]\nbalance.max_concurrent = {limit}\nmax_unready = 7\n");
    let stacks = Stacks::new_in(&registry, "settings.toml", load(&text(10)).unwrap()).unwrap();
    let missing = "balanced_client.search: no stack has this name, expected none";
    assert_eq!(listed(&stacks.check_names().unwrap_err()), [missing]);
    let search = stacks.balanced_client("search").unwrap();
    assert_eq!(search.config().balance.max_concurrent, 10);
    search.balance().set_endpoints([Endpoint::new("10.0.0.1:80")]).unwrap();
    let again = stacks.balanced_client("search").unwrap();
    assert_eq!(again.balance().endpoints().len(), 1, "one name has one state");
    assert_eq!(registry.snapshot().of("search").count(), 5);

    stacks.reload(load(&text(20))).unwrap();
    assert_eq!(search.config().balance.max_concurrent, 20);
    assert_eq!(again.balance().endpoints().len(), 1, "a reload keeps the endpoints");
    let refused = stacks.reload(load(&text(0))).unwrap_err();
    let said = "balanced_client.search.balance.max_concurrent: ";
    assert!(listed(&refused).iter().all(|fault| fault.starts_with(said)), "{refused}");
    assert_eq!(search.config().balance.max_concurrent, 20);

    let taken = stacks.balanced_grpc_client("search").unwrap_err();
    assert_eq!(listed(&taken), ["balanced_client.search: the name is taken by a stack for the other protocol"]);
    let shared = load("[client.search]\n[balanced_client.search]\n").unwrap();
    let said =
        "balanced_client.search: a client has this name, too, and a name is taken by one stack: rename one of them";
    assert_eq!(listed(&Stacks::new_in(&Registry::new(), "settings.toml", shared).unwrap_err()), [said]);
}

#[test]
fn mistyped_names_are_faults() {
    let registry = Registry::new();
    let config = load("[client.paymnts]\n[client.search]\n[server.inbound]\n").unwrap();
    let stacks = Stacks::new_in(&registry, "settings.toml", config).unwrap();
    let missing = "client.payments: is missing in the settings, which have `paymnts`, `search`";
    assert_eq!(listed(&stacks.client("payments").unwrap_err()), [missing]);
    let _made = (stacks.client("search").unwrap(), stacks.server("inbound").unwrap());
    let unused = "client.paymnts: no stack has this name, expected `search`";
    assert_eq!(listed(&stacks.check_names().unwrap_err()), [unused]);
    assert_eq!(
        listed(&stacks.reload(load("[client.serch]\n[server.inbound]\n")).unwrap_err()),
        [
            "client.serch: no stack has this name, expected `search`",
            "client.search: is missing in the settings, which have `serch`",
        ]
    );
    stacks.reload(load("[client.search]\n[server.inbound]\n")).unwrap();
    stacks.check_names().unwrap();
}

#[test]
fn reload_applies_to_all_stacks_or_to_none() {
    let (_registry, stacks) = stacks();
    let (payments, inbound) = (stacks.client("payments").unwrap(), stacks.server("inbound").unwrap());
    let limits = || (payments.bulkhead().limit(), inbound.load_shed().limit());
    let wrong = load(
        "[client.payments]\nbulkhead.max_concurrent = 8\nper_authority = true\n[server.inbound]\nload_shed.max_in_flight = 0\n",
    );
    assert!(stacks.reload(wrong).is_err());
    assert_eq!(limits(), (16, 64));
    let fixed = load("[client.payments]\nbulkhead.max_concurrent = 8\nper_authority = true\n[server.inbound]\n");
    let listed = listed(&stacks.reload(fixed).unwrap_err());
    assert!(listed.len() == 1 && listed[0].starts_with("client.payments.per_authority: "), "{listed:?}");
    assert_eq!(limits(), (16, 64));
    stacks.reload(load(&FILE.replace("16", "8").replace("64", "32"))).unwrap();
    assert_eq!(limits(), (8, 32));
    assert_eq!(stacks.config().client["payments"].bulkhead.max_concurrent, 8);
}

struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("seawall-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("settings.toml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn faults(registry: &Registry) -> Vec<String> {
    let snapshot = registry.snapshot();
    let component = snapshot.of("settings.toml").next().expect("the settings");
    match &component.condition {
        Condition::Settings(settings) => settings.faults.clone(),
        other => panic!("{other:?}"),
    }
}

/// Long enough for two reads.
const SETTLES: Duration = Duration::from_millis(2500);

#[tokio::test(start_paused = true)]
async fn followed_file_is_applied_once_complete_and_valid() {
    let folder = Folder::new("followed");
    let path = folder.file();
    fs::write(&path, FILE).unwrap();
    let file = SettingsFile::new(&path, read);
    let registry = Registry::new();
    let stacks = Stacks::new_in(&registry, "settings.toml", file.load().unwrap()).unwrap();
    let (payments, _inbound) = (stacks.client("payments").unwrap(), stacks.server("inbound").unwrap());
    let following = stacks.follow(file);
    let limit = async || {
        sleep(SETTLES).await;
        payments.bulkhead().limit()
    };

    // Written in place, and by rename.
    fs::write(&path, FILE.replace("16", "8")).unwrap();
    assert_eq!(limit().await, 8);
    fs::write(folder.0.join("next"), FILE.replace("16", "24")).unwrap();
    fs::rename(folder.0.join("next"), &path).unwrap();
    assert_eq!(limit().await, 24);
    assert_eq!(faults(&registry), [""; 0]);

    // Half written, and each half is valid alone: the second half comes before the file has settled.
    for _ in 0..5 {
        fs::write(&path, "").unwrap();
        sleep(Duration::from_millis(700)).await;
        fs::write(&path, "[client.payments]\n[server.inbound]\n").unwrap();
        sleep(Duration::from_millis(700)).await;
        assert_eq!(payments.bulkhead().limit(), 24);
        fs::write(&path, FILE.replace("16", "24")).unwrap();
        sleep(Duration::from_millis(700)).await;
    }

    // Empty, invalid and missing files are not applied, and the fault is shown until the file is repaired.
    type Change = fn(&PathBuf);
    let rejected: [(Change, &str); 3] = [
        (|path| fs::write(path, "# to be written\n").unwrap(), "empty: "),
        (|path| fs::write(path, "[client.payments\n").unwrap(), "TOML parse error"),
        (|path| fs::remove_file(path).unwrap(), "cannot read "),
    ];
    for (n, (change, fault)) in rejected.into_iter().enumerate() {
        change(&path);
        assert_eq!(limit().await, 24 + n as u32);
        sleep(Duration::from_secs(3600)).await;
        let listed = faults(&registry);
        assert!(listed.len() == 1 && listed[0].starts_with(fault), "{listed:?}");
        fs::write(&path, FILE.replace("16", &(25 + n).to_string())).unwrap();
        assert_eq!(limit().await, 25 + n as u32);
        assert_eq!(faults(&registry), [""; 0]);
    }

    drop(following);
    fs::write(&path, FILE).unwrap();
    assert_eq!(limit().await, 27);
}

#[tokio::test(start_paused = true)]
async fn reverted_file_clears_the_fault() {
    let folder = Folder::new("back");
    fs::write(folder.file(), FILE).unwrap();
    let file = SettingsFile::new(folder.file(), read);
    let registry = Registry::new();
    let stacks = Stacks::new_in(&registry, "settings.toml", file.load().unwrap()).unwrap();
    let _made = (stacks.client("payments").unwrap(), stacks.server("inbound").unwrap());
    let _following = stacks.follow(file);
    sleep(SETTLES).await;
    fs::write(folder.file(), "[client]").unwrap();
    sleep(SETTLES).await;
    assert_eq!(faults(&registry).len(), 1);
    fs::write(folder.file(), FILE).unwrap();
    sleep(SETTLES).await;
    assert_eq!(faults(&registry), [""; 0]);
}

#[test]
fn stacks_built_concurrently_by_one_name_are_one() {
    for _ in 0..20 {
        let (_registry, stacks) = stacks();
        std::thread::scope(|scope| {
            let made: Vec<_> = (0..4).map(|_| scope.spawn(|| stacks.client("payments").unwrap())).collect();
            let made: Vec<_> = made.into_iter().map(|made| made.join().unwrap()).collect();
            made[0].bulkhead().set_limit(7.try_into().unwrap());
            assert!(made.iter().all(|layer| layer.bulkhead().limit() == 7));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn panic_while_reading_a_followed_file_is_a_fault() {
    let folder = Folder::new("panics");
    fs::write(folder.file(), FILE).unwrap();
    let file =
        SettingsFile::new(folder.file(), |text| if text.contains("bad") { panic!("of a parser") } else { read(text) });
    let registry = Registry::new();
    let stacks = Stacks::new_in(&registry, "settings.toml", file.load().unwrap()).unwrap();
    let (payments, _inbound) = (stacks.client("payments").unwrap(), stacks.server("inbound").unwrap());
    let _following = stacks.follow(file);
    fs::write(folder.file(), "bad").unwrap();
    sleep(SETTLES).await;
    assert_eq!(faults(&registry), ["the function that reads the file has panicked"]);
    fs::write(folder.file(), FILE.replace("16", "8")).unwrap();
    sleep(SETTLES).await;
    assert_eq!((payments.bulkhead().limit(), faults(&registry)), (8, Vec::<String>::new()));
}
