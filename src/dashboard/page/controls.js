
// What moves a component by hand. Shown to those whom the server lets do so; it decides again on each order.

async function order(name, layer, command) {
  const response = await fetch(address("control"), {
    method: "POST",
    headers: { "content-type": "application/json", "x-seawall-control": "1" },
    body: JSON.stringify({ name, layer, command }),
    redirect: "error",
    signal: AbortSignal.timeout(5000),
  });
  if (response.ok) return;
  let words = `The server answered ${response.status}`;
  try {
    words = (await response.json()).error || words;
  } catch { /* it is not ours, and the status says enough */ }
  throw new Error(words);
}

function confirmed(name) {
  const box = document.getElementById("ask"), yes = document.getElementById("ask-yes"), no = document.getElementById("ask-no");
  say(document.getElementById("ask-what"), `Force the circuit breaker of “${name}” open?`);
  say(document.getElementById("ask-why"), "All calls through it are refused, however well the dependency does, until someone lets it decide again.");
  return new Promise((resolve) => {
    const end = (answer) => () => (box.close(), resolve(answer));
    yes.onclick = end(true);
    no.onclick = end(false);
    box.oncancel = () => resolve(false);
    box.showModal();
    no.focus();
  });
}

function controls({ name, layer }) {
  const root = element("div", "controls"), said = element("span", "said");
  said.setAttribute("role", "status");
  root.hidden = true;
  const parts = [];
  const button = (text, act) => {
    const node = element("button", "", text);
    node.type = "button";
    node.onclick = async () => {
      const command = await act();
      if (command === undefined) return;
      parts.forEach((part) => { part.disabled = true; });
      try {
        await order(name, layer, command);
        said.className = "said";
        say(said, "Done");
        refresh();
      } catch (error) {
        said.className = "said bad";
        say(said, error.message);
      }
      parts.forEach((part) => { part.disabled = false; });
      setTimeout(() => say(said, ""), 8000);
    };
    parts.push(node);
    return node;
  };
  let limit;
  if (layer === "circuit_breaker") {
    const force = button("Force open…", async () => await confirmed(name) ? "force_open" : undefined);
    force.classList.add("danger");
    root.append(force, button("Let it decide", () => "enforce"), button("Reset", () => "reset"), said);
  } else if (layer === "bulkhead" || layer === "load_shed") {
    limit = element("input");
    limit.type = "number";
    limit.min = "1";
    limit.max = "4294967295";
    limit.setAttribute("aria-label", "New limit");
    root.append(limit, button("Set limit", () => {
      const wanted = Number(limit.value);
      return Number.isInteger(wanted) && wanted > 0 ? { set_limit: wanted } : (limit.focus(), undefined);
    }), said);
  }
  return {
    root,
    show(component, is, allowed) {
      root.hidden = !allowed || parts.length === 0;
      if (limit && document.activeElement !== limit && limit.placeholder !== String(is.limit)) limit.placeholder = String(is.limit);
    },
  };
}
