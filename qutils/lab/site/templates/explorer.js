// One explorer: controls, a picture, numbers. The model is a Jupyter widget's, or, on a page without
// a kernel, one that looks its answers up among precomputed frames (see `frames` below).

const BUSY_MS = 150; // sooner, a mark would only flicker
const SILENT_MS = 8000; // after that much silence the page says what may be wrong
const SILENT =
  "No answer from the kernel for 8 seconds. It is busy with another cell, or it has died: " +
  "restart it (menu Kernel, Restart) and run the cells again, or reload the page of an app.";
const GONE =
  "The kernel of this page is gone: what you move has no effect any more. " +
  "Restart it (menu Kernel, Restart) and run the cells again, or reload the page of an app.";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// JupyterLab takes arrow keys from what has the focus, unless told not to.
const ours = (control) => ({ "aria-label": control.label, "data-lm-suppress-shortcuts": "true" });

function slider(control, index, changed) {
  const text = element("output");
  const range = { type: "range", min: 0, max: control.texts.length - 1, step: 1 };
  const input = element("input", { ...range, ...ours(control) });
  const label = element("label", {}, element("span", {}, control.label), input, text);
  const write = () => {
    text.textContent = control.texts[input.value];
    input.setAttribute("aria-valuetext", text.textContent);
  };
  input.addEventListener("input", () => (write(), changed(index, Number(input.value))));
  return { input, label, write };
}

function menu(control, index, changed) {
  const options = control.texts.map((text, i) => element("option", { value: i }, text));
  const input = element("select", ours(control), ...options);
  const label = element("label", {}, element("span", {}, control.label), input);
  input.addEventListener("input", () => changed(index, Number(input.value)));
  return { input, label, write: () => {} };
}

function address(picture) {
  if (typeof picture === "string") return `data:image/webp;base64,${picture}`;
  return URL.createObjectURL(new Blob([picture], { type: "image/png" }));
}

function render({ model, el }) {
  const stage = element("figure", {}, element("img", { alt: "" }));
  const numbers = element("div", { class: "numbers", "aria-live": "polite" });
  const problem = element("p", { class: "problem", role: "alert", hidden: "" });
  const busy = element("p", { class: "busy", role: "status", hidden: "" }, "computing …");
  const row = element("form", { class: "controls", autocomplete: "off" });
  row.addEventListener("submit", (event) => event.preventDefault());
  const root = element("section", { class: "qx", "aria-label": model.get("title") });
  root.append(row, element("div", { class: "stage" }, stage, busy), problem, numbers);

  const timers = [];
  const settle = () => {
    while (timers.length) clearTimeout(timers.pop());
    busy.hidden = true;
    root.removeAttribute("aria-busy");
  };
  const complain = (text) => {
    problem.textContent = text;
    problem.hidden = !text;
  };
  const wait = () => {
    settle();
    timers.push(setTimeout(() => ((busy.hidden = false), root.setAttribute("aria-busy", "true")), BUSY_MS));
    timers.push(setTimeout(() => (settle(), complain(SILENT)), SILENT_MS));
  };

  let request = model.get("request");
  const changed = (index, value) => {
    const setting = [...model.get("setting")];
    setting[index] = value;
    model.set("setting", setting);
    model.set("request", (request = Math.max(request, model.get("request")) + 1));
    root.dataset.request = request;
    wait();
    model.save_changes();
  };
  const inputs = model
    .get("controls")
    .map((control, index) => (control.kind === "menu" ? menu : slider)(control, index, changed));
  row.append(...inputs.map((made) => made.label));
  const follow = () =>
    model.get("setting").forEach((value, index) => {
      if (Number(inputs[index].input.value) !== value) inputs[index].input.value = value;
      inputs[index].write();
    });

  let painting = 0;
  const show = async () => {
    const turn = ++painting;
    const frame = ["picture", "html", "alt", "error", "shown"].map((name) => model.get(name));
    const [picture, html, alt, error, shown] = frame;
    const next = element("img", { alt });
    next.src = address(picture);
    await next.decode().catch(() => {}); // decoded before it is shown: no blank picture between
    if (typeof picture !== "string") URL.revokeObjectURL(next.src);
    if (turn !== painting) return; // a later one has overtaken it
    stage.replaceChildren(next);
    numbers.innerHTML = html; // escaped where it was made
    complain(error);
    root.dataset.shown = shown;
    if (shown >= request) settle();
  };
  const gone = function () {
    const { model: whole } = this ?? {}; // the view; the model given to us does not tell
    if (whole?.comm_live === false) settle(), complain(GONE);
  };
  model.on("change:setting", follow);
  model.on("change:shown", show);
  model.on("comm_live_update", gone);
  follow();
  el.append(root);
  show();
  return () => {
    settle();
    model.off("change:setting", follow);
    model.off("change:shown", show);
    model.off("comm_live_update", gone);
  };
}

// A stand-in for the widget's model: every answer was computed beforehand.
function frames(data) {
  const state = { ...data.state, request: 0, shown: 0, error: "" };
  const listeners = {};
  const look = () => {
    const [picture, html, alt] = data.frames[state.setting.join(",")];
    Object.assign(state, { picture: data.pictures[picture], html: data.texts[html], alt });
  };
  look();
  return {
    get: (name) => state[name],
    set: (name, value) => (state[name] = value),
    on: (event, call) => (listeners[event] ??= []).push(call),
    off: () => {},
    save_changes: () => {
      look();
      state.shown = state.request;
      for (const call of listeners["change:shown"] ?? []) call();
    },
  };
}

export default { render };

if (typeof document !== "undefined")
  for (const holder of document.querySelectorAll("[data-explorer]")) {
    const source = holder.querySelector("script[type='application/json']");
    if (source) render({ model: frames(JSON.parse(source.textContent)), el: holder }), source.remove();
  }
