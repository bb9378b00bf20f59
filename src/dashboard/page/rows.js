
// One row a component, one group a name. Rows are made once; then only what changes is written. All text goes in as text.

function element(name, classes = "", text = "") {
  const node = document.createElement(name);
  if (classes) node.className = classes;
  if (text) node.textContent = text;
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function chip() {
  const root = element("span", "chip"), mark = element("span"), word = element("span");
  mark.setAttribute("aria-hidden", "true");
  root.append(mark, word);
  return {
    root,
    show(rank, text) {
      set(root, "data-rank", String(rank));
      say(mark, MARKS[rank]);
      say(word, text);
    },
  };
}

// A label with a figure, what is to be said beside it, and a curve below.
function cell(label, drawing) {
  const root = element("div", "cell"), head = element("div", "label"), peak = element("span");
  const value = element("div", "value"), figure = element("span"), beside = element("small");
  head.append(element("span", "", label), peak);
  value.append(figure, beside);
  root.append(head, value);
  if (drawing) root.append(drawing.root);
  return {
    root,
    show(text, small = "", isBad = false, top = "") {
      say(figure, text);
      say(beside, small);
      beside.className = isBad ? "bad" : "";
      say(peak, top);
    },
  };
}

// Two figures, one above the other, where there is no curve to draw. A figure is a text, or a text and what is said beside it.
function facts(...labels) {
  const root = element("div", "cell facts");
  const figures = labels.map((label) => {
    const head = element("div", "label"), figure = element("div", "value"), text = element("span"), beside = element("small");
    head.append(element("span", "", label));
    figure.append(text, beside);
    root.append(head, figure);
    return (words, small = "") => (say(text, words), say(beside, small));
  });
  return { root, show: (...texts) => figures.forEach((show, i) => show(...[texts[i]].flat())) };
}

function peak(series) {
  return Math.max(0, ...(series || []).map((value) => value || 0));
}

function sum(...many) {
  const length = Math.max(0, ...many.map((series) => (series || []).length));
  return Array.from({ length }, (_, i) => many.reduce((all, series) => all + ((series || [])[i] || 0), 0));
}

const last = (series) => (series && series.length ? series[series.length - 1] : NaN);

// The cells of a layer: each makes its node, and draws a component.
const CELLS = {
  calls() {
    const drawing = chart(["good", "bad", "inside", "none"]), box = cell("Calls / s", drawing);
    return [box.root, ({ last_minute: m = {} }) => {
      const all = sum(m.good, m.failed, m.inside, m.given_up);
      const parts = [[m.failed, "failed"], [m.inside, "refused inside"], [m.given_up, "given up"]];
      const words = parts.filter(([series]) => last(series) > 0).map(([series, word]) => `${rate(last(series))} ${word}`);
      box.show(rate(last(all)), words.join(", "), last(m.failed) > 0, `peak ${rate(peak(all))}`);
      drawing.draw([m.good, m.failed, m.inside, m.given_up], [], `Calls per second: ${[rate(last(all)) + " now", ...words].join(", ")}; ${rate(peak(all))} at most`);
    }];
  },
  refused() {
    const drawing = chart(["bad"]), box = cell("Refused / s", drawing);
    return [box.root, ({ last_minute: m = {}, refused }) => {
      box.show(rate(last(m.refused)), total(refused) > 0 ? `${count(total(refused))} in all` : "", false, `peak ${rate(peak(m.refused))}`);
      drawing.draw([m.refused], [], `Refused per second: ${rate(last(m.refused))} now, ${rate(peak(m.refused))} at most`);
    }];
  },
  load() {
    const drawing = chart(["good", "none"], ["limit"]), box = cell("In flight", drawing);
    return [box.root, ({ last_minute: m = {}, keys }, is) => {
      // With keys, each of them has the limit, and all together have none.
      const waiting = is.waiting > 0 ? `${count(is.waiting)} waiting` : keys > 0 && is.limit > 0 ? `${count(is.limit)} a key` : "";
      const of = is.limit === undefined || keys > 0 ? "" : ` of ${count(is.limit)}`;
      box.show(count(is.in_flight) + of, waiting, false, `peak ${count(Math.round(peak(m.in_flight)))}`);
      drawing.draw([m.in_flight, m.waiting], keys > 0 ? [] : [m.limit], `In flight: ${count(is.in_flight)}${of}, ${count(is.waiting || 0)} waiting`);
    }];
  },
  waiting() {
    const drawing = chart(["none"]), box = cell("Waiting", drawing);
    return [box.root, ({ last_minute: m = {} }, is) => {
      box.show(count(is.waiting), "", false, `peak ${count(Math.round(peak(m.waiting)))}`);
      drawing.draw([m.waiting], [], `Waiting: ${count(is.waiting)} now, ${count(peak(m.waiting))} at most`);
    }];
  },
  budget() {
    const drawing = chart(["good"]), box = cell("Budget left", drawing);
    return [box.root, ({ last_minute: m = {} }, is) => {
      const word = is.hedges ? "hedges" : "retries", retries = last(m.retries) > 0 ? `${rate(last(m.retries))} ${word} / s` : "";
      box.show(count(is.budget_left), retries, false, `peak ${count(Math.round(peak(m.budget_left)))}`);
      drawing.draw([m.budget_left], [], `Budget left for ${word}: ${count(is.budget_left)}`);
    }];
  },
  latency() {
    const drawing = chart(["time"]), box = cell("p99", drawing);
    return [box.root, ({ last_minute: m = {}, latency }) => {
      const known = (m.p99_s || []).filter((value) => value !== null), latest = known.length ? time(last(known)) : "–";
      const median = latency ? `p50 ${time(latency.p50_s)}` : "";
      box.show(latest, median, false, known.length ? `peak ${time(peak(known))}` : "");
      drawing.draw([m.p99_s], [], `Latency: 99 % of the successes of the last second within ${latest}, at most ${time(peak(known))}; ${median || "no median"} since it was named`, 0);
    }];
  },
  times() {
    const box = facts("A call may take", "Head, idle, body");
    return [box.root, (_, is) => {
      const or = (seconds) => seconds === null || seconds === undefined ? "–" : time(seconds);
      const parts = [is.head_timeout_s, is.idle_timeout_s, is.body_timeout_s].map(or);
      box.show(or(is.timeout_s), parts.every((part) => part === "–") ? "none" : parts.join(", "));
    }];
  },
  endpoints() {
    const box = facts("Endpoints usable", "In flight");
    return [box.root, (_, is) => {
      const { text, others } = endpoints(is), waiting = is.waiting > 0 ? `${count(is.waiting)} waiting, ` : "";
      box.show([text, others], [count(is.in_flight), `${waiting}${count(is.limit)} an endpoint at most`]);
    }];
  },
  hedges() {
    const box = facts("Hedged, won", "Delay");
    return [box.root, (_, is) => box.show(`${count(total(is.hedges))}, ${count(is.won)}`, time(is.delay_s))];
  },
  agreement() {
    const box = facts("Have to agree");
    return [box.root, (_, is) => box.show(`${count(is.agree)} of ${count(is.endpoints)}`)];
  },
  faults() {
    const root = element("div", "cell facts"), head = element("div", "label"), list = element("ul", "faults");
    head.append(element("span", "", "Faults"));
    root.append(head, list);
    return [root, (_, is) => {
      const faults = is.faults || [];
      head.hidden = !faults.length;
      const same = list.children.length === faults.length && faults.every((fault, i) => list.children[i].textContent === fault);
      if (!same) list.replaceChildren(...faults.map((fault) => element("li", "", fault)));
    }];
  },
  bodies() {
    const drawing = chart(["bad"]), box = cell("Bodies cut / s", drawing);
    return [box.root, ({ last_minute: m = {}, bodies_cut }) => {
      box.show(rate(last(m.cut)), total(bodies_cut) > 0 ? `${count(total(bodies_cut))} in all` : "", false, `peak ${rate(peak(m.cut))}`);
      drawing.draw([m.cut], [], `Bodies cut per second: ${rate(last(m.cut))}`);
    }];
  },
};
const COLUMNS = {
  deadline: ["times", "refused", "bodies"],
  retry: ["calls", "refused", "budget", "latency"],
  hedge: ["calls", "hedges", "budget", "latency"],
  quorum: ["calls", "refused", "agreement", "latency"],
  balance: ["calls", "refused", "endpoints", "latency"],
  chaos: ["refused"],
  quarantine: ["calls", "refused", "waiting", "latency"],
  fallback: ["calls", "refused", "latency"],
  rate_limit: ["calls", "refused", "waiting"],
  throttle: ["refused"],
  settings: ["faults"],
};
const USUAL = ["calls", "refused", "load", "latency"];

function row(component) {
  const { layer } = component;
  const root = element("div", "row"), who = element("div", "who"), state = chip();
  const title = element("h3", "", LAYERS[layer] || layer), detail = element("p", "detail");
  root.dataset.layer = layer;
  who.append(title, state.root, detail);
  root.append(who);
  const columns = (COLUMNS[layer] || USUAL).map((kind) => CELLS[kind]());
  for (const [node] of columns) root.append(node);
  const strip = layer === "circuit_breaker" ? band() : null, stripWords = element("p", "bandwords");
  const below = element("div", "below"), foot = element("div", "foot"), note = element("p", "note"), what = element("strong"), how = element("span");
  note.append(what, how);
  const buttons = controls(component);
  if (strip) below.append(strip.root);
  const told = element("div", "told");
  if (strip) told.append(stripWords);
  told.append(note);
  foot.append(told, buttons.root);
  below.append(foot);
  root.append(below);
  return {
    root,
    show(component, withControls) {
      const is = (component.condition || {})[layer] || {};
      const [rank, word, sentence] = judge(component);
      state.show(rank, word);
      say(detail, sentence);
      for (const [, draw] of columns) draw(component, is);
      if (strip) {
        const words = bandWords((component.last_minute || {}).state);
        strip.draw((component.last_minute || {}).state, words);
        say(stripWords, words);
      }
      const refusal = component.last_refusal;
      if (refusal) {
        const [why, remedy] = reason(refusal.reason, refusal.numbers);
        say(what, `${time(refusal.ago_s)} ago: ${why}${numbers(refusal.numbers)}. `);
        say(how, remedy);
      } else {
        say(what, "");
        say(how, layer === "settings" ? "" : "Nothing was refused.");
      }
      note.classList.toggle("has", Boolean(refusal));
      buttons.show(component, is, withControls);
      root.classList.toggle("controlled", !buttons.root.hidden);
      return rank;
    },
  };
}

function group(name) {
  const root = element("section", "group"), head = element("h2"), title = element("bdi", "", name), state = chip();
  root.setAttribute("aria-label", name);
  title.title = name;
  head.append(title, state.root);
  root.append(head);
  const rows = new Map();
  let held = 0, heldUntil = 0;
  return {
    root,
    name,
    // For the order of the groups: trouble that is over is still worth its place for a while, so that nothing jumps about.
    place: () => held,
    show(components, withControls) {
      const here = new Set(components.map(({ layer }) => layer));
      for (const [layer, shown] of rows) if (!here.has(layer)) (shown.root.remove(), rows.delete(layer));
      let worst = 0;
      for (const component of components) {
        const { layer } = component;
        if (!rows.has(layer)) {
          const fresh = row(component), place = (layer) => ORDER.indexOf(layer);
          const next = [...rows].filter(([other]) => place(other) > place(layer)).sort((a, b) => place(a[0]) - place(b[0]))[0];
          root.insertBefore(fresh.root, next ? next[1].root : null);
          rows.set(layer, fresh);
        }
        worst = Math.max(worst, rows.get(layer).show(component, withControls));
      }
      state.show(worst, ["Fine", "Fine, note", "Worth a look", "In trouble"][worst]);
      const now = performance.now();
      if (worst >= held || now > heldUntil) (held = worst, heldUntil = now + 15000);
      return worst;
    },
  };
}
