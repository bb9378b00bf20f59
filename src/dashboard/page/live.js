
// Asks once a second, and less often while nobody answers; not at all while nobody looks.

const groups = new Map();
const main = document.getElementById("groups");
const address = (what) => location.origin + location.pathname.replace(/\/+$/, "") + "/" + what;
let timer = 0, asking = null, failures = 0, seen = null, lostSince = null;

const clock = (date) => date.toLocaleTimeString([], { hour12: false });

async function refresh() {
  clearTimeout(timer);
  if (asking) asking.abort();
  if (document.hidden) return;
  const began = performance.now(), mine = asking = new AbortController();
  const late = setTimeout(() => mine.abort(), 5000);
  try {
    const response = await fetch(address("live"), { cache: "no-store", redirect: "error", signal: mine.signal });
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    const live = await response.json();
    if (asking !== mine) return;
    failures = 0;
    seen = new Date();
    show(live);
    connected();
  } catch (error) {
    if (asking !== mine) return;
    failures += 1;
    lost(error.name === "Error" ? error.message : "");
  } finally {
    clearTimeout(late);
  }
  asking = null;
  const wait = failures ? Math.min(1000 * 2 ** (failures - 1), 15000) : 1000;
  timer = setTimeout(refresh, Math.max(100, wait - (failures ? 0 : performance.now() - began)));
  if (failures) countdown(performance.now() + wait);
}

function connected() {
  lostSince = null;
  document.body.classList.remove("is-lost");
  document.getElementById("lost").hidden = true;
  say(document.getElementById("when"), "live, " + clock(seen));
}

function lost(why) {
  lostSince = lostSince || seen || new Date();
  document.body.classList.add("is-lost");
  document.getElementById("lost").hidden = false;
  say(document.getElementById("lost-since"), `Connection lost since ${clock(lostSince)}${why ? ": " + why : ""}.`);
  say(document.getElementById("when"), seen ? "as of " + clock(seen) : "not connected");
}

function countdown(until) {
  if (!lostSince || document.hidden) return;
  const left = Math.ceil((until - performance.now()) / 1000);
  say(document.getElementById("lost-next"), (seen ? "What you see is old. " : "") + (left > 0 ? `Next try in ${left} s.` : "Trying."));
  if (left > 0) setTimeout(countdown, 500, until);
}

function show(live) {
  const names = new Map();
  for (const component of Array.isArray(live.components) ? live.components : []) {
    const name = String(component.name);
    names.set(name, (names.get(name) || []).concat(component));
  }
  for (const [name, shown] of groups) if (!names.has(name)) (shown.root.remove(), groups.delete(name));
  const worst = new Map();
  for (const [name, components] of names) {
    if (!groups.has(name)) groups.set(name, group(name));
    worst.set(name, groups.get(name).show(components, live.controls === true));
  }
  arrange();
  summarize(worst);
  document.getElementById("empty").hidden = names.size > 0;
}

// Trouble first, then by name. What someone is about to press stays where it is.
function arrange() {
  const wanted = [...groups.values()].sort((a, b) => b.place() - a.place() || (a.name < b.name ? -1 : 1)).map(({ root }) => root);
  const same = wanted.length === main.children.length && wanted.every((root, i) => main.children[i] === root);
  if (same) return;
  if (main.querySelector(":focus") && wanted.every((root) => root.isConnected)) return;
  for (const root of wanted) main.append(root);
}

function summarize(worst) {
  const of = (rank) => [...worst].filter(([, r]) => r === rank).map(([name]) => name.length > 40 ? name.slice(0, 40) + "…" : name).sort();
  const [trouble, look] = [of(3), of(2)];
  const some = (names) => names.slice(0, 4).join(", ") + (names.length > 4 ? ` and ${names.length - 4} more` : "");
  const parts = [];
  if (trouble.length) parts.push(`In trouble: ${some(trouble)}`);
  if (look.length) parts.push(`${trouble.length ? "worth" : "Worth"} a look: ${some(look)}`);
  const words = worst.size === 0 ? "Nothing to show" : parts.join("; ") || (worst.size === 1 ? "All is well" : `All ${worst.size} are well`);
  say(document.getElementById("summary"), words);
  const title = (trouble.length ? `(${trouble.length}) ` : "") + "seawall";
  if (document.title !== title) document.title = title;
}

document.addEventListener("visibilitychange", refresh);
refresh();
