//! Which file uses which: no circles, and no arrow up between the files and folders of a top-level module.
//!
//! A file uses another one if it names a path that leads there, outside its tests. Names are followed to the file that defines them:
//! - A re-export (`pub use`, `pub(crate) use`) uses nothing: it gives a name to others. Who takes a name from a re-export uses the file
//!   behind it, and so does a file whose own code uses a name that it re-exports. What a file re-exports of another crate is its own.
//! - A `mod` declaration uses nothing. So a `mod.rs` that only declares and re-exports its children is in no circle, and one that its
//!   children need something of is in one as soon as it uses a child.
//! - `use` of a whole module uses the file with the text of that module.
//! - An `impl` in one file of a type in another is an arrow from the `impl` to the type. Calls of its methods are not seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source::{By, File, Module};

/// The order of the files and folders in a module, bottom-up: each may use those before it, and those beside it in the same row.
/// `*` stands for all that are not named.
const ORDER_WITHIN: [(&str, &[&[&str]]); 15] = [
    (
        "ground",
        &[
            &["chance", "instant", "layer_id", "sync", "text"],
            &["scope"],
            &["time", "settings"],
            &["error", "context", "stopwatch"],
            &["call_deadline", "validation"],
            &["verdict"],
        ],
    ),
    ("admission", &[&["pooled"], &["timer"], &["woken", "reaper", "keyed", "gate", "lag_probe"], &["registry"]]),
    ("layers", &[&["core"], &["call"], &["*"]]),
    (
        "http",
        &[
            &[
                "overrides",
                "retry_after",
                "authority",
                "map_request_body",
                "method_and_path",
                "write_timeout",
                "transport",
                "reqwest",
            ],
            &["propagation", "replay"],
            &["held_body", "by_status"],
            &["settled"],
            &["*"],
        ],
    ),
    (
        "algorithm",
        &[
            &[
                "backoff",
                "chaos",
                "estimate",
                "evidence",
                "fair_share",
                "fallback",
                "gcra",
                "hedge",
                "limit",
                "quarantine",
                "quorum",
                "runtime_lag",
                "throttle",
            ],
            &["balance", "breaker", "budget", "queue"],
        ],
    ),
    // Each of these is one layer.
    ("hedge", &[&["*"]]),
    ("quorum", &[&["*"]]),
    ("quarantine", &[&["*"]]),
    ("fallback", &[&["*"]]),
    ("balance", &[&["*"]]),
    (
        "grpc",
        &[
            &["code", "replay"],
            &["status"],
            &["details", "propagation"],
            &["by_code", "by_timeout"],
            &["constructors", "respond", "settle"],
            &["classify"],
        ],
    ),
    (
        "stack",
        &[&["config", "per_authority", "reload"], &["balanced_client", "client", "server"], &["grpc"], &["stacks"]],
    ),
    (
        "dashboard",
        &[
            &["body", "config", "host", "page", "reading"],
            &["answer", "document", "history"],
            &["control", "sampler"],
            &["future"],
            &["service"],
        ],
    ),
    (
        "telemetry",
        &[
            &["calls", "publisher", "tally"],
            &["counted"],
            &["directory"],
            &["instruments"],
            &["events"],
            &["metrics", "refusal"],
        ],
    ),
    ("loader", &[&["scalar"], &["duration", "read_error"], &["node", "off"], &["fault_log"], &["draft"], &["load"]]),
];

/// How many names may stand for each other in a row.
const MOST_ALIASES: usize = 16;

type Fault = (String, usize, String);

pub(crate) fn faults(files: &[&File]) -> Vec<Fault> {
    let graph = Graph::of(files);
    let mut faults = graph.arrows_up();
    faults.extend(rooms_without_order(files));
    for circle in graph.circles() {
        let (first, next) = (circle[0], circle[1 % circle.len()]);
        let path: Vec<&str> = circle.iter().chain([&first]).copied().collect();
        let what = format!("a circle of files: {}", path.join(" -> "));
        faults.push((first.to_owned(), graph.arrows[first][next], what));
    }
    faults
}

pub(crate) fn has_order(room: &str) -> bool {
    ORDER_WITHIN.iter().any(|(module, _)| *module == room)
}

/// A fault for each room without an order, at its first file.
fn rooms_without_order(files: &[&File]) -> Vec<Fault> {
    let mut rooms = BTreeMap::new();
    for file in files {
        if let Some(room) = file.module.first().filter(|room| !has_order(room)) {
            rooms.entry(room).or_insert(&file.path);
        }
    }
    let fault = |(room, path): (&String, &String)| {
        (path.clone(), 1, format!("`{room}` has no order of its files and folders: see tests/architecture/graph.rs"))
    };
    rooms.into_iter().map(fault).collect()
}

/// The arrows from each file, by path, with the first line of each.
struct Graph<'a> {
    arrows: BTreeMap<&'a str, BTreeMap<&'a str, usize>>,
}

impl<'a> Graph<'a> {
    fn of(files: &[&'a File]) -> Self {
        let names = Names::of(files);
        let mut arrows = BTreeMap::<_, BTreeMap<_, _>>::new();
        for file in files {
            let arrows = arrows.entry(&*file.path).or_default();
            for named in file.found.paths.iter().filter(|named| named.by != By::ReExport) {
                let Some(target) = names.file_of(&named.within, &named.path, named.by) else { continue };
                if target != file.path {
                    let line: &mut usize = arrows.entry(target).or_insert(named.line);
                    *line = named.line.min(*line);
                }
            }
        }
        Self { arrows }
    }

    /// A shortest circle through each arrow that is in one. Each begins with the first of its files.
    fn circles(&self) -> BTreeSet<Vec<&'a str>> {
        let mut circles = BTreeSet::new();
        for (from, arrows) in &self.arrows {
            for to in arrows.keys() {
                if let Some(mut circle) = self.way(to, from) {
                    let first = circle.iter().enumerate().min_by_key(|(_, path)| **path).map_or(0, |(at, _)| at);
                    circle.rotate_left(first);
                    circles.insert(circle);
                }
            }
        }
        circles
    }

    /// A shortest way, both ends included.
    fn way(&self, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
        let mut came_from = BTreeMap::from([(from, from)]);
        let mut next = VecDeque::from([from]);
        while let Some(file) = next.pop_front() {
            if file == to {
                let mut way = vec![to];
                while way[way.len() - 1] != from {
                    way.push(came_from[way[way.len() - 1]]);
                }
                way.reverse();
                return Some(way);
            }
            for other in self.arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
                came_from.entry(other).or_insert_with(|| {
                    next.push_back(other);
                    file
                });
            }
        }
        None
    }

    fn arrows_up(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (module, order) in ORDER_WITHIN {
            // The file or folder in the module that a file belongs to, and its row.
            let place = |path: &'a str| {
                let name = path.strip_prefix("src/")?.strip_prefix(module)?.strip_prefix('/')?;
                let name = name.split('/').next()?.trim_end_matches(".rs");
                let row = |name: &str| order.iter().position(|row| row.contains(&name));
                (name != "mod").then(|| (name, row(name).or_else(|| row("*"))))
            };
            for (from, arrows) in &self.arrows {
                let Some((own, row)) = place(from) else { continue };
                if row.is_none() {
                    let what =
                        format!("`{own}` has no place in the order of `{module}`: see tests/architecture/graph.rs");
                    faults.push(((*from).to_owned(), 1, what));
                }
                for (to, line) in arrows {
                    if let Some((other, _)) = place(to).filter(|(other, above)| *other != own && *above > row) {
                        let what =
                            format!("points up: `{module}::{own}` stands below `{module}::{other}`, and uses {to}");
                        faults.push(((*from).to_owned(), *line, what));
                    }
                }
            }
        }
        faults
    }
}

/// All names of the crate, and where they lead.
struct Names<'a> {
    /// The file with the text of each module.
    modules: BTreeMap<&'a [String], &'a str>,
    items: BTreeSet<&'a [String]>,
    /// What each module imports: the name, or `*`, and its target.
    imports: BTreeMap<&'a [String], Vec<(&'a str, &'a Module)>>,
}

/// Where a path leads.
enum Target<'a> {
    Module(&'a str),
    Item(&'a str),
    /// Nothing by that name is seen in the file: a macro may make it.
    Unseen(&'a str),
}

impl<'a> Names<'a> {
    fn of(files: &[&'a File]) -> Self {
        let mut names = Self { modules: BTreeMap::new(), items: BTreeSet::new(), imports: BTreeMap::new() };
        for file in files {
            names.modules.extend(file.found.files_and_inline_modules.iter().map(|module| (&**module, &*file.path)));
            names.items.extend(file.found.items.iter().map(|item| &**item));
            for binding in &file.found.bindings {
                names.imports.entry(&*binding.within).or_default().push((&*binding.name, &binding.target));
            }
        }
        names
    }

    /// The file that a path leads to which the module `within` names, if that is one of the crate.
    fn file_of(&self, within: &[String], path: &[String], by: By) -> Option<&'a str> {
        match self.follow(within, path, 0)? {
            // Code that names a module alone means something else by that name.
            Target::Module(_) if by == By::Code && path.len() == 1 => None,
            Target::Module(file) | Target::Item(file) | Target::Unseen(file) => Some(file),
        }
    }

    fn follow(&self, within: &[String], path: &[String], aliases: usize) -> Option<Target<'a>> {
        let (first, rest) = path.split_first()?;
        if first == "crate" {
            return self.go(Vec::new(), rest, aliases);
        }
        let child: Module = within.iter().cloned().chain([first.clone()]).collect();
        let is_known = self.modules.contains_key(&*child) || self.items.contains(&*child);
        let is_imported = || self.imports.get(within).is_some_and(|all| all.iter().any(|(name, _)| name == first));
        (is_known || is_imported()).then(|| self.go(within.to_vec(), path, aliases))?
    }

    fn go(&self, mut module: Module, path: &[String], aliases: usize) -> Option<Target<'a>> {
        for (at, name) in path.iter().enumerate() {
            module.push(name.clone());
            if self.modules.contains_key(&*module) {
                continue;
            }
            let is_item = self.items.contains(&*module);
            module.pop();
            let file = *self.modules.get(&*module)?;
            if is_item || name == "*" || aliases == MOST_ALIASES {
                return Some(Target::Item(file));
            }
            let imports = self.imports.get(&*module).map_or(&[][..], |all| all);
            let rest = &path[at + 1..];
            if let Some((_, target)) = imports.iter().find(|(imported, _)| imported == name) {
                let target: Module = target.iter().chain(rest).cloned().collect();
                // What comes from another crate is this file's.
                return self.follow(&module, &target, aliases + 1).or(Some(Target::Item(file)));
            }
            for (_, target) in imports.iter().filter(|(imported, _)| *imported == "*") {
                let target: Module = target.iter().chain(&path[at..]).cloned().collect();
                if let Some(found @ (Target::Item(_) | Target::Module(_))) = self.follow(&module, &target, aliases + 1)
                {
                    return Some(found);
                }
            }
            return Some(Target::Unseen(file));
        }
        self.modules.get(&*module).map(|file| Target::Module(file))
    }
}
