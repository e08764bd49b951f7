// Puts the live lab where a reader meets it: on a page of the book, and in JupyterLab.

import { drawPanel, settingsPanel, timePanel } from "./controls.mjs";
import { element } from "./dom.mjs";
import { questionsPanel, seedsPanel } from "./inquiry.mjs";
import { Lab } from "./lab.mjs";
import {
  answerPanel,
  decisionPanel,
  mapsPanel,
  neuronPanel,
  rasterPanel,
  ratesPanel,
} from "./views.mjs";

const PANELS = {
  draw: drawPanel,
  answer: answerPanel,
  time: timePanel,
  settings: settingsPanel,
  maps: mapsPanel,
  neuron: neuronPanel,
  raster: rasterPanel,
  decision: decisionPanel,
  rates: ratesPanel,
  seeds: seedsPanel,
  questions: questionsPanel,
};

/** Put a lab into an element; a network that cannot be read leaves a message instead. */
export function mount(host, given) {
  let lab;
  try {
    lab = build(host, given);
  } catch (error) {
    host.append(
      element(
        "div",
        { role: "alert", class: "snn-lab-error" },
        `The live lab cannot start. ${error.message}`,
      ),
    );
    host.dataset.mounted = "error";
    return null;
  }
  host.lab = lab;
  host.dataset.mounted = "lab";
  lab.root.dataset.state = "ready";
  return lab;
}

function build(host, given) {
  const label = given.label ?? "Live lab";
  const root = element("section", { class: "snn-lab", "aria-label": label });
  const lab = new Lab(root, { ...given, panels: given.panels ?? Object.keys(PANELS) });
  host.append(root);
  root.dataset.panels = lab.panels.join(" ");
  lab.readTheme();
  lab.run();
  lab.chooseNeuron();
  lab.parts = lab.panels.map((name) => PANELS[name](lab));
  root.append(...lab.parts.map((part) => part.element));
  lab.readAddress();
  lab.refresh();
  const stops = [
    watchTheme(lab),
    watchSize(lab),
    watchSight(lab),
    watchAddress(lab),
    keepKeys(lab),
  ];
  lab.destroy = () => {
    lab.play(false);
    stops.forEach((stop) => stop());
    Object.values(lab.timers).forEach(clearTimeout);
  };
  return lab;
}

function repaint(lab) {
  lab.frame ??= requestAnimationFrame(() => lab.refresh());
}

function watchTheme(lab) {
  const again = () => {
    lab.readTheme();
    repaint(lab);
  };
  const observer = new MutationObserver(again);
  const attributeFilter = ["data-theme", "data-jp-theme-light", "data-jp-theme-name"];
  for (const target of [document.documentElement, document.body]) {
    observer.observe(target, { attributes: true, attributeFilter });
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", again);
  return () => {
    observer.disconnect();
    dark.removeEventListener("change", again);
  };
}

/** JupyterLab makes a lab before it shows it: only then are there sizes and colours. */
function watchSize(lab) {
  const observer = new ResizeObserver(() => {
    lab.readTheme();
    repaint(lab);
  });
  observer.observe(lab.root);
  return () => observer.disconnect();
}

/** Off screen the film pauses and nothing is drawn. */
function watchSight(lab) {
  const observer = new IntersectionObserver(([{ isIntersecting }]) => {
    lab.visible = isIntersecting;
    if (isIntersecting) repaint(lab);
    else lab.play(false);
  });
  observer.observe(lab.root);
  return () => observer.disconnect();
}

function watchAddress(lab) {
  const again = () => {
    lab.readAddress();
    repaint(lab);
  };
  addEventListener("hashchange", again);
  return () => removeEventListener("hashchange", again);
}

/** JupyterLab takes arrow keys from outputs; these are for the lab's sliders. */
function keepKeys(lab) {
  const keep = (event) => {
    const theirs =
      event.ctrlKey || event.metaKey || event.altKey || ["Tab", "Escape"].includes(event.key);
    if (!theirs) event.stopPropagation();
  };
  lab.root.addEventListener("keydown", keep);
  return () => lab.root.removeEventListener("keydown", keep);
}

// ---- where labs come from

function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** What the page hands over; where that is broken, no network, which the lab then says. */
function givenTo(host) {
  try {
    return JSON.parse(host.querySelector('script[type="application/json"]').textContent);
  } catch {
    return { network: "", samples: [] };
  }
}

function mountHost(host) {
  const given = givenTo(host);
  const samples = given.samples.map((sample) => ({ ...sample, pixels: bytesOf(sample.pixels) }));
  let network = new Uint8Array(0);
  try {
    network = bytesOf(given.network);
  } catch {
    // no base64 at all: the empty file says so below
  }
  mount(host, { ...given, network, samples });
}

/** Every lab that the book's directive left on this page. */
if (typeof document !== "undefined") {
  document.querySelectorAll(".snn-lab-host:not([data-mounted])").forEach(mountHost);
}

/** The widget of JupyterLab (anywidget): the same lab, its state shared with Python. */
function render({ model, el }) {
  const host = element("div", { class: "snn-lab-host" });
  el.append(host);
  const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const samples = model
    .get("samples")
    .map((sample) => ({ ...sample, pixels: bytes(sample.pixels) }));
  const onChange = ({ settings, image, answer }) => {
    const { pixels, ...plain } = settings;
    model.set({ settings: plain, pixels: new DataView(image.slice().buffer), answer });
    model.save_changes();
  };
  const given = { ...model.get("options"), network: bytes(model.get("network")), samples };
  const lab = mount(host, { ...given, keepsAddress: false, onChange });
  return () => lab?.destroy();
}

export default { render };
