// Questions to the network: the same digit under 20 seeds, and three predictions.
//
// Nothing is known beforehand: every answer is computed from runs of this digit, here.

import { simulate } from "./simulation.mjs";
import { button, element, freshId, note, panel, say } from "./dom.mjs";

const SEEDS = 20;
const TIMES = [5, 10, 20, 40]; // [steps]

/** Lets the page draw and answer between two runs. */
function breathe() {
  return new Promise((resume) => setTimeout(resume));
}

/** Runs one digit under seeds 0 to 19; null if the lab was changed meanwhile. */
async function runSeeds(lab, changes = {}, onRun = () => {}) {
  const started = lab.runs;
  const runs = [];
  for (let seed = 0; seed < SEEDS; seed++) {
    runs.push(simulate(lab.network, lab.pixels, { ...lab.options(), ...changes, seed }));
    onRun(runs);
    await breathe();
    if (lab.runs !== started) return null;
  }
  return runs;
}

// ---- 20 seeds

export function seedsPanel(lab) {
  const rows = TIMES.map(seedRow);
  const start = button(`Try ${SEEDS} seeds`, () => trySeeds(lab, start, rows));
  const table = element(
    "table",
    { "data-part": "seeds" },
    element("tbody", {}, ...rows.map((row) => row.element)),
  );
  const small = note();
  const made = panel(
    "seeds",
    "How sure is it?",
    note("The same digit, other random spikes: a dot a seed."),
    start,
    table,
    small,
  );
  const update = (_, changed) => {
    if (changed.has("run")) rows.forEach((row) => row.update([], 0));
    say(small, goalText(lab));
  };
  return { element: made, update };
}

function goalText({ settings: { label }, cnnAnswer, empty }) {
  if (empty) return "";
  return label === null
    ? `A full dot: the answer is that of the CNN, ${cnnAnswer}.`
    : `A full dot: the answer is right, ${label}.`;
}

async function trySeeds(lab, start, rows) {
  if (lab.empty) return;
  const goal = lab.settings.label ?? lab.cnnAnswer;
  const show = (runs) => {
    rows.forEach((row) =>
      row.update(
        runs.map(({ decisions }) => decisions[row.time - 1]),
        goal,
      ),
    );
  };
  start.disabled = true;
  await runSeeds(lab, { steps: Math.max(...TIMES) }, show);
  start.disabled = false;
}

function seedRow(time) {
  const dots = Array.from({ length: SEEDS }, () => element("span", { class: "snn-lab-dot" }));
  const share = element("td", {}, "–");
  const strip = element("td", { "aria-hidden": "true" }, ...dots);
  const head = element("th", { scope: "row" }, `T = ${time}`);
  const update = (answers, goal) => {
    dots.forEach((dot, i) => {
      dot.dataset.is = i < answers.length ? (answers[i] === goal ? "right" : "wrong") : "open";
    });
    const right = answers.filter((answer) => answer === goal).length;
    say(share, answers.length ? `${right} of ${answers.length}` : "–");
  };
  return { element: element("tr", {}, head, strip, share), update, time };
}

// ---- predict, then reveal

const QUESTIONS = [
  {
    text: "Double every threshold. How many spikes of the last layer are left?",
    choices: ["About half", "About a quarter", "An eighth or fewer"],
    reveal: doubledThresholds,
  },
  {
    text: "Give a white pixel twice the rate. When does the answer settle?",
    choices: ["Earlier", "At about the same step", "Later"],
    reveal: doubledRate,
  },
  {
    text: "Change nothing but the seed, 20 times. How many different answers after the last step?",
    choices: ["One", "Two or three", "More than three"],
    reveal: otherSeeds,
  },
];

export function questionsPanel(lab) {
  const forms = QUESTIONS.map((question, i) => questionForm(lab, question, i + 1));
  const made = panel(
    "questions",
    "Predict, then reveal",
    note("Choose first; the lab then runs it on your digit."),
    ...forms,
  );
  return { element: made, update: () => {} };
}

function questionForm(lab, { text, choices, reveal }, number) {
  const name = freshId("choice");
  const radios = choices.map((choice, i) => {
    const input = element("input", { type: "radio", name, value: `${i}` });
    return element("label", {}, input, ` ${choice}`);
  });
  const feedback = element("output", {});
  const submit = element("button", { type: "submit" }, "Reveal");
  const legend = element("legend", {}, `${number}. ${text}`);
  const form = element(
    "form",
    { "data-part": "question" },
    element("fieldset", {}, legend, ...radios),
    submit,
    feedback,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const chosen = new FormData(form).get(name);
    if (chosen === null) return say(feedback, "Choose an answer first.");
    if (lab.empty) return say(feedback, "Draw a digit first, or choose one.");
    say(feedback, "Running …");
    const found = await reveal(lab);
    say(
      feedback,
      found
        ? verdict(choices, Number(chosen), found)
        : "The digit or a setting changed; reveal again.",
    );
  });
  return form;
}

function verdict(choices, chosen, { right, text }) {
  const start = chosen === right ? "Yes. " : `Here it is “${choices[right].toLowerCase()}”. `;
  return start + text;
}

async function doubledThresholds(lab) {
  const run = (factor) => {
    const options = { ...lab.options(), threshold: lab.settings.threshold * factor };
    return simulate(lab.network, lab.pixels, options).spikeCounts;
  };
  const [before, after] = [run(1), run(2)];
  const total = (counts) => counts.reduce((a, b) => a + b, 0);
  const names = lab.network.layers.filter(({ reset }) => reset !== null).map(({ name }) => name);
  const left = names.map((name) => total(after[name]) / Math.max(total(before[name]), 1));
  const output = names[names.length - 1];
  const share = left[left.length - 1];
  const each = names.map((name, i) => `${name} keeps ${Math.round(100 * left[i])} %`).join(", ");
  return {
    right: share > 0.35 ? 0 : share > 0.18 ? 1 : 2,
    text:
      `${total(before[output])} spikes of ${output} became ${total(after[output])}. Each layer halves ` +
      `what reaches it, and what reaches it was halved before: ${each}.`,
  };
}

async function doubledRate(lab) {
  const rate = lab.settings.rate;
  const twice = Math.min(2 * rate, 1);
  const before = await runSeeds(lab, { rate });
  const after = before && (await runSeeds(lab, { rate: twice }));
  if (!after) return null;
  const [slow, fast] = [before, after].map((runs) => mean(runs.map(settled)));
  return {
    right: fast < slow - 1 ? 0 : fast > slow + 1 ? 2 : 1,
    text:
      `Over ${SEEDS} seeds the last change of mind came after ${slow.toFixed(1)} steps on average ` +
      `at rate ${rate.toFixed(2)}, and after ${fast.toFixed(1)} at ${twice.toFixed(2)}.`,
  };
}

/** The step from which the answer no longer changes. */
function settled({ decisions }) {
  const last = decisions[decisions.length - 1];
  let step = decisions.length;
  while (step > 1 && decisions[step - 2] === last) step -= 1;
  return step;
}

function mean(values) {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

async function otherSeeds(lab) {
  const runs = await runSeeds(lab);
  if (!runs) return null;
  const answers = runs.map(({ decisions }) => decisions[decisions.length - 1]);
  const kinds = new Set(answers).size;
  const spikes = runs.map(({ spikeCounts }) => spikeCounts.input.reduce((a, b) => a + b, 0));
  const [low, high] = [Math.min(...spikes), Math.max(...spikes)].map((n) => n.toLocaleString("en"));
  return {
    right: kinds === 1 ? 0 : kinds <= 3 ? 1 : 2,
    text:
      `The input had between ${low} and ${high} spikes, each time others. ` +
      `Different answers: ${kinds}. A longer run averages more spikes, so the answer depends less on them.`,
  };
}
