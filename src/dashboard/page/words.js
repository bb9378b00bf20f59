
"use strict";

// What things mean. All that the page says stands here.

const LAYERS = {
  deadline: "Deadline",
  fallback: "Fallback",
  quarantine: "Quarantine",
  chaos: "Chaos",
  retry: "Retry",
  hedge: "Hedge",
  quorum: "Quorum",
  rate_limit: "Rate limit",
  throttle: "Throttle",
  load_shed: "Load shed",
  bulkhead: "Bulkhead",
  circuit_breaker: "Circuit breaker",
  balance: "Balance",
  settings: "Settings",
};
const ORDER = Object.keys(LAYERS);
const STATES = ["closed", "half-open", "open", "forced open", "disabled"];
const MARKS = ["●", "◆", "▲", "■"];

// Why a call was refused or cut, and what to do about it.
const REASONS = {
  deadline_expired: ["the deadline had passed before the call began", "Whoever calls is late already: look at what comes before this call."],
  deadline_exceeded: ["the deadline passed before the call was over", "The dependency is slower than that: look at its latency, or give calls more time."],
  head_timeout: ["the response did not begin within head_timeout", "The dependency hangs before it answers."],
  idle_timeout: ["the response stalled for longer than idle_timeout", "The dependency began to answer and stopped."],
  attempt_timeout: ["one attempt had no answer in its time", "The next attempt may do better; if many do not, the dependency is slow."],
  hold_exceeded: ["the call went on for longer than max_hold", "Set a deadline, so that calls end by themselves."],
  not_ready: ["what is called did not become ready in time", "Its connections or buffers are used up: look at the pool behind it."],
  circuit_open: ["the circuit is open, since the dependency has been failing", "Look at the dependency; calls go on once probes succeed."],
  queue_full: ["all permits are in use and the queue is full", "Calls come faster than answers: look at the dependency's latency first."],
  queue_timeout: ["no permit became free within max_wait", "Calls hold their permits for long: look at the dependency's latency."],
  not_in_time: ["less time was left than the call takes", "It would only have failed late. If many are: more capacity, or longer deadlines."],
  displaced: ["a call that is served before it displaced it from a full queue", "Calls come faster than answers: look at the dependency's latency first."],
  rate_limited: ["the rate limit is exhausted", "Slow the callers down, or raise the limit."],
  runtime_lag: ["the runtime polls tasks too late", "Handlers compute on the runtime: look at the CPU, and move long computations to threads of their own."],
  throttled: ["the dependency is overloaded and refuses most calls", "It spares the dependency the refusals, and ends with the overload: look at the dependency's capacity."],
  no_endpoints: ["there is no endpoint, or none takes calls now", "Look at the endpoints: whether the discovery still finds them, and why they are open or ejected."],
  no_quorum: ["too few endpoints gave the same answer", "Look at the votes in the error: endpoints that fail, or whose data differ."],
  injected: ["a fault was injected on purpose", "A drill is under way: see the chaos layer of this name."],
  quarantined: ["requests like this one were lost with their connections", "They may crash the instances that get them: look for the fingerprint in the log."],
  request_idle: ["the client sent nothing of its request's body for too long", "Look at these clients and their networks; or give uploads more time."],
};

// What opened a circuit breaker, and what to do about it.
const CAUSES = {
  failure_rate: ["too many calls failed", "Look at the dependency's errors; calls go on once probes succeed."],
  consecutive_failures: ["calls failed in a row", "Look at the dependency's errors; calls go on once probes succeed."],
  slow_rate: ["too many calls were slow", "Look at the dependency's latency; calls go on once probes are quick enough."],
  hanging: ["the dependency hangs", "It takes calls and does not answer: look whether it is stuck. Calls go on once probes are answered."],
  unanswered: ["no call was answered", "Nothing gets through: look whether the dependency is up, and at the network to it. Calls go on once probes are answered."],
  forced_open: ["it was forced open by hand", "Enforce the breaker, and calls go on."],
};

function reason(word, numbers = {}) {
  const cause = CAUSES[numbers.opened_by];
  if (cause) return [`the circuit is open: ${cause[0]}`, cause[1]];
  return REASONS[word] || [String(word).replaceAll("_", " "), ""];
}

// The calls that opened a circuit breaker.
function trip(is = {}) {
  if (!(is.calls > 0)) return "";
  if (is.opened_by === "consecutive_failures") return `${count(is.failures)} failed in a row`;
  const parts = [[is.failures, "failed"], [is.slow, "slow"], [is.overdue, "hanging"], [is.unanswered, "unanswered"]];
  return parts.filter(([n]) => n > 0).map(([n, word]) => `${count(n)} ${word}`).join(" and ") + ` of ${count(is.calls)} calls`;
}

// The numbers that decided a refusal, as the event and the error's text have them.
function numbers(is = {}) {
  const words = [];
  const say = (value, text) => { if (Number.isFinite(value)) words.push(text(value)); };
  say(is.time_left_s, (left) => `time left ${time(left)}`);
  say(is.expected_s, (expected) => `expected ${time(expected)}`);
  say(is.waiting, (calls) => `waiting ${count(calls)}`);
  say(is.limit, (limit) => `limit ${count(limit)}` + (Number.isFinite(is.per_s) ? ` per ${time(is.per_s)}` : ""));
  say(is.calls, () => trip(is));
  say(is.endpoints, (all) => `endpoints ${count(all)}, open ${count(is.open)}, ejected ${count(is.ejected)}`);
  say(is.open_for_s, (open) => `open for ${time(open)}`);
  if (is.breaks > 1) words.push(`break ${count(is.breaks)}`);
  say(is.next_probe_s, (next) => next > 0 ? `next probe in ${time(next)}` : "probing now");
  if (Number.isFinite(is.given_s)) words.push(`given ${time(is.given_s)}, elapsed ${time(is.elapsed_s)}`);
  return words.length ? ` (${words.join(", ")})` : "";
}

function rate(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  if (value < 0.1) return "<0.1";
  if (value < 10) return value.toFixed(1);
  return count(Math.round(value));
}

function count(value) {
  if (!Number.isFinite(value)) return "–";
  if (value >= 1e7) return (value / 1e6).toFixed(0) + "M";
  if (value >= 1e4) return (value / 1e3).toFixed(value < 1e5 ? 1 : 0) + "k";
  return String(value);
}

function time(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 0.01) return (seconds * 1e3).toFixed(1) + " ms";
  if (seconds < 1) return (seconds * 1e3).toFixed(0) + " ms";
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 120) return seconds.toFixed(0) + " s";
  if (seconds < 7200) return (seconds / 60).toFixed(0) + " min";
  if (seconds < 172800) return (seconds / 3600).toFixed(0) + " h";
  return (seconds / 86400).toFixed(0) + " days";
}

function share(part, whole) {
  return whole > 0 ? Math.round(100 * part / whole) + " %" : "0 %";
}

function total(counts) {
  return Object.values(counts || {}).reduce((sum, n) => sum + (Number.isFinite(n) ? n : 0), 0);
}

// The sum of the last seconds of a series.
function lately(series, seconds = 10) {
  return (series || []).slice(-seconds).reduce((sum, n) => sum + (n || 0), 0);
}

// How a component does: rank 0 fine, 1 worth knowing, 2 worth a look, 3 trouble; in a word, and in a sentence.
function judge(component) {
  const is = (component.condition || {})[component.layer] || {};
  const minute = component.last_minute || {};
  const refused = lately(minute.refused) > 0;
  const [good, failed] = [lately(minute.good), lately(minute.failed)];
  const inside = lately(minute.inside);
  const turned = inside >= 1 && inside > 0.05 * (good + failed + inside);
  const failing = failed >= 1 && failed > 0.05 * (good + failed);
  const refusing = [2, "Refusing"];
  switch (component.layer) {
    case "circuit_breaker": return breaker(is, component.keys, refused, failing, good + failed + inside > 0);
    case "retry": {
      if (is.enabled === false) return [1, "Off", "No call is tried again"];
      const detail = `${is.max_attempts} attempts at most`;
      if (is.granted_share < 1 && failing) {
        return [2, "Retries do not help", `Only ${Math.round(100 * is.granted_share)} % of the wanted ones are made`];
      }
      if (is.budget_left === 0 && failing) return [2, "Out of budget", "No retries until the budget fills up"];
      if (failing) return [2, "Calls fail", share(failed, good + failed) + " fail in spite of retries"];
      if (turned) return [1, "Refused inside", "A layer further in refuses calls"];
      if (lately(minute.retries) > 0) return [1, "Retrying", detail];
      return [0, "Fine", detail];
    }
    case "hedge": {
      if (is.enabled === false) return [1, "Off", "No call is hedged"];
      const after = Number.isFinite(is.delay_s) ? `After ${time(is.delay_s)}` : "Slow calls are not hedged now";
      const detail = `${after}, ${is.max_attempts} attempts at most`;
      if (failing) return [2, "Calls fail", share(failed, good + failed) + " fail in spite of hedges"];
      if (turned) return [1, "Refused inside", "A layer further in refuses calls"];
      if (is.budget_left === 0) return [1, "Out of budget", "No hedges until the budget fills up"];
      if (lately(minute.retries) > 0) return [1, "Hedging", detail];
      return [0, "Fine", detail];
    }
    case "quorum": {
      const detail = `${count(is.agree)} of ${count(is.endpoints)} endpoints have to agree`;
      if (refused && good === 0) return [3, "No quorum", `No call lately: ${detail}`];
      if (refused) return [2, "Some without a quorum", detail];
      if (failing) return [2, "Calls fail", share(failed, good + failed) + " fail"];
      return [0, "Fine", detail];
    }
    case "balance": return balancer(is, refused, turned, failing && `${share(failed, good + failed)} of the calls fail`);
    case "bulkhead":
    case "load_shed": {
      const detail = is.service_time_s > 0 ? `A call takes ${time(is.service_time_s)}` : "No call to measure lately";
      if (is.refused_share > 0) {
        return [2, "Runtime lags", `Tasks wait for ${time(is.runtime_lag_s)}; refuses ${share(is.refused_share, 1)} of the calls`];
      }
      if (refused) return [...refusing, detail];
      if (is.waiting > 0) return [1, "Queueing", detail];
      if (!component.keys && is.limit > 0 && is.in_flight >= is.limit) return [1, "Full", detail];
      if (turned) return [1, "Refused inside", "A layer further in refuses calls"];
      return [0, "Fine", detail];
    }
    case "rate_limit": {
      const detail = `${rate(is.per_second)} a second, ${count(is.burst)} at once`;
      if (refused) return [...refusing, detail];
      if (is.waiting > 0) return [1, "Queueing", detail];
      return [0, "Fine", detail];
    }
    case "throttle": {
      if (is.enabled === false) return [1, "Off", "All calls are sent"];
      const detail = `The dependency accepts ${count(is.accepted)} of ${count(is.requests)} calls`;
      if (is.share > 0) return [2, "Throttling", `Refuses ${share(is.share, 1)} of the calls. ${detail}`];
      if (refused) return [...refusing, detail];
      return [0, "Fine", is.requests > 0 ? detail : "No calls lately"];
    }
    case "fallback": {
      if (is.enabled === false) return [1, "Off", "Failed calls fail"];
      const sum = (counts) => Object.values(counts || {}).reduce((all, n) => all + n, 0);
      const detail = `${count(sum(is.answered))} answered by the fallback in all`;
      if (failing) return [2, "Calls fail", share(failed, good + failed) + " fail in spite of the fallback"];
      return [0, "Fine", detail];
    }
    case "quarantine": {
      if (is.enabled === false) return [1, "Off", "All calls pass"];
      const detail = `${count(is.quarantines)} quarantined in all`;
      if (is.quarantined > 0) return [2, "Refusing", `${count(is.quarantined)} kinds of requests were lost on several endpoints`];
      if (is.suspects > 0) return [1, "Suspecting", `${count(is.suspects)} kinds of requests are sent one at a time`];
      return [0, "Fine", detail];
    }
    case "chaos": {
      if (!is.is_on) return [0, "Off", "No faults are injected"];
      const end = is.ends_in_s === null || is.ends_in_s === undefined ? "without an end" : `for ${time(is.ends_in_s)} more`;
      return [2, "Injecting", `Faults on purpose, ${end}; ${count(is.active)} of ${count(is.max_active)} in progress`];
    }
    case "settings": {
      const faults = is.faults || [];
      if (!faults.length) return [0, "In force", "The settings that were offered last are in force"];
      return [2, "Rejected", `For ${time(is.rejected_for_s)} the settings of before have been in force instead`];
    }
    default:
      if (refused || lately(minute.cut) > 0) return [2, "Cutting", "Calls do not end in their time"];
      return [0, "Fine", "Calls end in their time"];
  }
}

// How many endpoints a balancer may call, and what is wrong with the others. A snapshot lists a hundred; of the others it has only the
// numbers, and one can be both ejected and open.
function endpoints(is) {
  const all = is.endpoints || 0, listed = is.listed || [], isOpen = ({ breaker }) => is.open > 0 && /^(forced_)?open$/.test(breaker);
  const isOut = ({ mode }) => mode === "draining" || mode === "isolated", of = (test) => listed.filter(test).length;
  const isEjected = ({ ejected }) => ejected;
  const unlisted = Math.max(is.ejected - of(isEjected), is.open - of(isOpen), 0);
  const byHand = Math.max(of(isOut), listed.length < all ? is.by_hand : 0);
  const usable = Math.max(0, all - of((one) => isEjected(one) || isOpen(one) || isOut(one)) - (listed.length < all ? unlisted : 0));
  const parts = [[is.ejected, "ejected"], [is.open, "open"], [byHand, "set by hand"]];
  return {
    usable,
    all,
    text: `${listed.length < all && usable < all ? "at most " : ""}${count(usable)} of ${count(all)}`,
    // Calls go there if there is nothing better.
    lastResort: listed.length < all || listed.some((one) => !isOpen(one) && one.mode !== "isolated"),
    others: parts.filter(([n]) => n > 0).map(([n, word]) => `${count(n)} ${word}`).join(", "),
  };
}

function balancer(is, refused, turned, failing) {
  const { usable, all, text, others, lastResort } = endpoints(is);
  const state = `${text[0].toUpperCase()}${text.slice(1)} endpoints usable` + (others ? `: ${others}` : "");
  if (all === 0) return [3, "No endpoints", "The set is empty: all calls are refused"];
  if (usable === 0) {
    const refuses = `Calls are refused until ${is.open > 0 ? "a probe succeeds" : "one is set to serve"}`;
    return [3, "None usable", `${state}. ${lastResort ? "Calls go to ejected or draining ones, for want of others" : refuses}`];
  }
  if (refused) return [2, "Refusing", state];
  if (is.ejected > 0 || is.open > 0) return [2, "Some unusable", state];
  if (failing) return [2, "Calls fail", failing];
  if (usable < all) return [1, "Set by hand", state];
  if (is.waiting > 0) return [1, "Queueing", `${count(is.waiting)} calls wait for a permit of any endpoint`];
  if (turned) return [1, "Refused inside", "A layer further in refuses calls"];
  return [0, "Fine", all === 1 ? "The endpoint is usable" : `All ${count(all)} endpoints are usable`];
}

// With keys, the state is that of the worst, and the window is of no interest: it is that of calls without a key.
function breaker(is, keys, refused, failing, asked) {
  const since = `for ${time(is.since_s)}`;
  const window = keys > 0 ? `All ${count(keys)} keys are closed`
    : `${count(is.failures)} failed and ${count(is.slow)} slow of ${count(is.calls)} in its window`;
  const some = is.open_keys > 0 ? `${count(is.open_keys)} of ${count(keys)} keys are not closed, ${since}` : "";
  const [isOpen, isHalfOpen] = [is.state === "open", is.state === "half_open"];
  if (is.state === "forced_open") return [3, "Forced open", `By hand, ${since}, until told otherwise`];
  if (is.state === "disabled") return [1, "Disabled", `By hand, ${since}: all calls pass`];
  if (is.observe_only) return [isOpen || isHalfOpen ? 2 : 1, "Observing", isOpen || isHalfOpen ? `Refuses nothing, but would ${since}` : window];
  const opened = trip(is.outage) && `: ${trip(is.outage)}`;
  // The first call after the break passes, as a probe.
  const isWaiting = isOpen && !asked && !refused && is.outage && is.outage.next_probe_s === 0;
  if (isWaiting) return [1, some ? "Open for some" : "Open", some || `The break is over, and no call has come to probe with; open ${since}`];
  if (isOpen) return [3, some ? "Open for some" : "Open", (some || `Refuses calls ${since}`) + opened];
  // Without calls there is nothing to probe with: it stays half-open, and nobody is refused.
  if (isHalfOpen && !asked && !refused) return [1, some ? "Half-open for some" : "Half-open", some || `No call to probe with, ${since}`];
  if (isHalfOpen) return [2, some ? "Half-open for some" : "Half-open", (some || `Tries the dependency with probes ${since}`) + opened];
  if (is.overdue > 0) return [2, "Calls hang", `${count(is.overdue)} calls are overdue`];
  if (failing) return [2, "Closed, failing", window];
  if (refused && is.transitions > 0 && is.since_s < 15) return [1, "Closed again", `All calls pass, ${since}`];
  if (refused) return [2, "Closed, refusing", window];
  return [0, "Closed", window];
}
