
// Small curves. Each is drawn once and then only moved.

const SECONDS = 60, WIDTH = 240, HEIGHT = 30;

function svg(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function set(node, attribute, value) {
  if (node.getAttribute(attribute) !== value) node.setAttribute(attribute, value);
}

// `kinds`: the classes of what lies on each other, bottom first; `over`: those of lines over it. The top of the scale is the
// highest value, or `least`, so that a single call is no mountain.
function chart(kinds, over = []) {
  const root = svg("svg", { class: "chart", role: "img", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" });
  const path = (kind) => root.appendChild(svg("path", { class: kind, d: "" }));
  // The topmost area reaches down to the ground, behind the others.
  const areas = kinds.slice().reverse().map(path).reverse();
  const lines = over.map(path);
  return {
    root,
    draw(stacked, lined, words, least = 1) {
      const sums = [];
      let below = new Array(SECONDS).fill(0);
      for (const series of stacked) {
        const values = padded(series);
        below = values.map((value, i) => (value || 0) + (below[i] || 0));
        // Where there is nothing, there is no line either.
        const sum = below;
        sums.push(sum.map((height, i) => values[i] || values[i - 1] || values[i + 1] ? height : null));
      }
      const tops = lined.map(padded);
      const top = Math.max(least, 1e-9, ...sums.flat(), ...tops.flat()) * 1.06;
      areas.forEach((node, i) => set(node, "d", outline(sums[i] || [], top, true)));
      lines.forEach((node, i) => set(node, "d", outline(tops[i] || [], top, false)));
      set(root, "aria-label", words);
    },
  };
}

// Always a minute long, the newest at the right, whatever there is.
function padded(series) {
  const last = (series || []).slice(-SECONDS).map((value) => Number.isFinite(value) ? value : null);
  return new Array(SECONDS - last.length).fill(null).concat(last);
}

function outline(values, top, closed) {
  const y = (value) => (HEIGHT - HEIGHT * value / top).toFixed(1);
  const x = (i) => (WIDTH * i / (SECONDS - 1)).toFixed(1);
  let path = "", open = -1;
  for (let i = 0; i <= values.length; i++) {
    const value = i < values.length ? values[i] : null;
    if (value !== null) {
      if (open < 0) path += closed ? `M${x(i)} ${HEIGHT}L${x(i)} ${y(value)}` : `M${x(i)} ${y(value)}`;
      else path += `L${x(i)} ${y(value)}`;
      if (open < 0) open = i;
    } else if (open >= 0) {
      if (closed) path += `L${x(i - 1)} ${HEIGHT}Z`;
      open = -1;
    }
  }
  return path;
}

// The states of a breaker over the minute, as a band; the words for it are the caller's.
function band() {
  const root = svg("svg", { class: "band", role: "img", viewBox: `0 0 ${SECONDS} 1`, preserveAspectRatio: "none" });
  const cells = Array.from({ length: SECONDS }, (_, i) => {
    return root.appendChild(svg("rect", { class: "empty", x: i, y: 0, width: 1, height: 1, "shape-rendering": "crispEdges" }));
  });
  return {
    root,
    draw(states, words) {
      padded(states).forEach((state, i) => set(cells[i], "class", state === null ? "empty" : "s" + state));
      set(root, "aria-label", words);
    },
  };
}

function bandWords(states) {
  const seconds = new Map();
  for (const state of states || []) seconds.set(state, (seconds.get(state) || 0) + 1);
  const parts = [...seconds].sort((a, b) => b[1] - a[1]).map(([state, n]) => `${STATES[state] || "unknown"} ${n} s`);
  return parts.length ? "Last minute: " + parts.join(", ") : "Last minute: nothing yet";
}
