"use strict";
// The page of `jnst studio`. It shows the state that the server sends and asks the server for changes; the server
// decides everything, so that every tab shows the same and a reload loses nothing.

const $ = (id) => document.getElementById(id);
const CURVES = ["content", "style", "total_variation", "total"];
const SIZES = [64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];
const LIVE = ["compiling", "painting", "paused"];
let state = null; // as the server sent it
let shown = null; // number of the painting in the middle
let follow = true; // whether the newest painting is shown as soon as there is one
let touched = 0; // when a knob was last moved here; until a little later the server does not move it back
let knobs = { strength: null, smoothness: null, colors: null, blend: null }; // for the next painting

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

async function ask(address, body, options = {}) {
  say("");
  try {
    const answer = await fetch(address, { method: "POST", body: body === undefined ? "{}" : body, ...options });
    const data = await answer.json().catch(() => ({ error: `the studio answered ${answer.status}` }));
    if (!answer.ok) say(data.error);
    return answer.ok ? data.answer : undefined;
  } catch {
    say("the studio does not answer; is `jnst studio` still running?");
  }
}

const send = (address, data) => ask(address, JSON.stringify(data));

// Elements.

function make(tag, className, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// Replaces what is inside only where it is to be other than before: images do not flicker, focus stays.
function fill(place, key, build) {
  const text = JSON.stringify(key);
  if (place.dataset.key === text) return;
  place.dataset.key = text;
  place.replaceChildren(...build());
}

const pictureOf = (id) => state.pictures.find((one) => one.id === id);
const paintingOf = (number) => state.paintings.find((one) => one.number === number);
const image = (address, alt) => make("img", "", { src: address, alt });

function thumb(id, onRemove) {
  const picture = pictureOf(id);
  const box = make("span", "thumb", {}, image(`/pictures/${id}`, picture.name));
  box.append(make("span", "name", { textContent: `${picture.name} · ${picture.width} × ${picture.height}` }));
  const remove = make("button", "small", { type: "button", textContent: "remove" });
  remove.addEventListener("click", (event) => { event.preventDefault(); onRemove(); });
  box.append(remove);
  return box;
}

function at_hand(picture) {
  const box = make("span", "thumb", {}, image(`/pictures/${picture.id}`, picture.name));
  box.append(make("span", "name", { textContent: picture.name }));
  const draft = state.draft;
  for (const [text, change] of [
    ["photo", { content: picture.id }],
    ["painting", { styles: [...draft.styles.filter((id) => id !== picture.id), picture.id] }],
  ]) {
    const button = make("button", "small", { type: "button", textContent: text });
    button.addEventListener("click", () => send("/draft", change));
    box.append(button);
  }
  return box;
}

// What is shown.

function show() {
  const draft = state.draft;
  $("about").textContent = `${state.preset} on ${state.weights}`;
  document.body.classList.toggle("single", state.single);
  $("stop").textContent = state.single ? "Stop and write" : "Stop";
  $("folder").textContent = `in ${state.folder}`;
  fill($("content"), draft.content, () => (draft.content ? [thumb(draft.content, () => send("/draft", { content: null }))] : []));
  fill($("styles"), draft.styles, () =>
    draft.styles.map((id) => thumb(id, () => send("/draft", { styles: draft.styles.filter((one) => one !== id) }))));
  fill($("pictures"), [state.pictures, draft.styles], () => state.pictures.map(at_hand));
  const sizes = [...new Set([...SIZES, draft.size])].sort((a, b) => a - b);
  fill($("size"), sizes, () => sizes.map((size) => make("option", "", { value: size, textContent: `${size} pixels` })));
  $("size").value = draft.size;
  if (document.activeElement !== $("steps")) $("steps").value = draft.steps;
  $("paint").disabled = !(draft.content && draft.styles.length);
  const last = state.paintings.at(-1);
  const gone = shown === null || (last && shown <= last.number && !paintingOf(shown));
  if ((follow || gone) && last) {
    const live = state.paintings.find((one) => LIVE.includes(one.status));
    shown = (live || last).number;
  }
  showShelf();
  showPainting(paintingOf(shown));
}

function showShelf() {
  const key = state.paintings.map((one) => [one.number, one.status, LIVE.includes(one.status) ? 0 : one.version, shown]);
  fill($("paintings"), key, () => [...state.paintings].reverse().map((one) => {
    const button = make("button", one.number === shown ? "thumb shown" : "thumb", { type: "button" });
    button.dataset.number = one.number;
    if (one.version) button.append(image(`/paintings/${one.number}/picture?small&v=${one.version}`, `painting ${one.number}`));
    const enlarged = one.enlarged ? `, from ${one.enlarged}` : "";
    button.append(make("span", "name", { textContent: `${one.number}${enlarged} · ${one.status}` }));
    button.addEventListener("click", () => { shown = one.number; follow = false; show(); });
    return button;
  }));
  fill($("kept"), state.kept, () => state.kept.map((name) => {
    const address = `/kept/${encodeURIComponent(name)}`;
    return make("a", "thumb", { href: address, title: `download ${name}` }, image(`${address}/thumbnail`, name),
      make("span", "name", { textContent: name }));
  }));
}

// Seconds since this page first saw the painting being compiled.
const compiling = new Map();
function waited(painting) {
  if (painting.status !== "compiling") { compiling.delete(painting.number); return ""; }
  if (!compiling.has(painting.number)) compiling.set(painting.number, Date.now());
  return clock((Date.now() - compiling.get(painting.number)) / 1000);
}

function describe(painting) {
  const scale = painting.scales > 1 ? `, scale ${painting.scale} of ${painting.scales}` : "";
  const size = painting.width ? ` · ${painting.width} × ${painting.height}${scale}` : "";
  const seconds = painting.seconds.run;
  const pace = painting.step && seconds ? painting.step / seconds : 0;
  const left = painting.status === "painting" && pace ? ` · ${clock((painting.goal - painting.step) / pace)} left` : "";
  const words = {
    queued: "waits for the painting before it",
    compiling: `compiling (once per size) … ${waited(painting)}`,
    failed: "failed",
  };
  const word = words[painting.status] || painting.status;
  const note = painting.message ? ` · ${painting.message}` : "";
  return `Painting ${painting.number}: ${word} · step ${painting.step} of ${painting.goal}${size}${left}${note}`;
}

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function showPainting(painting) {
  const live = painting && LIVE.includes(painting.status);
  const seen = painting && painting.version > 0;
  $("pause").hidden = Boolean(painting && painting.status === "paused");
  $("pause").disabled = !live;
  $("go_on").hidden = !painting || !["paused", "done", "stopped"].includes(painting.status) || !seen;
  $("stop").disabled = !(live || (painting && painting.status === "queued"));
  for (const id of ["keep", "double"]) $(id).disabled = !seen;
  $("download").classList.toggle("off", !seen);
  $("picture").hidden = !seen;
  $("empty").hidden = Boolean(seen);
  showKnobs(painting);
  if (!painting) return;
  $("download").href = `/paintings/${painting.number}/download`;
  $("status").textContent = describe(painting);
  $("progress").value = painting.goal ? painting.step / painting.goal : 0;
  if (painting.status === "compiling") $("progress").removeAttribute("value");
  fill($("moments"), [painting.number, painting.moments], () => painting.moments.map((step) => {
    const address = `/paintings/${painting.number}/moments/${step}`;
    const button = make("button", "thumb", { type: "button", title: `back to step ${step}` }, image(address, `step ${step}`),
      make("span", "name", { textContent: `step ${step}` }));
    button.addEventListener("click", () => send(`/paintings/${painting.number}/undo`, { step }));
    return button;
  }));
  showPicture(painting);
  showCurves(painting);
}

// The newest picture, one request at a time; it is swapped in when it is complete.
let pictureBusy = false;
function showPicture(painting) {
  if (!painting.version) return;
  const address = `/paintings/${painting.number}/picture?v=${painting.version}`;
  if (pictureBusy || $("picture").dataset.address === address) return;
  pictureBusy = true;
  const next = new Image();
  const done = () => {
    pictureBusy = false;
    const now = paintingOf(shown);
    if (now) showPicture(now);
  };
  next.onload = () => {
    if (painting.number === shown) {
      $("picture").src = next.src;
      $("picture").alt = `painting ${painting.number} after ${painting.step} steps`;
      $("picture").dataset.address = address;
      $("picture").dataset.version = painting.version;
    }
    done();
  };
  next.onerror = () => { $("picture").dataset.address = address; pictureBusy = false; };
  next.src = address;
}

// Curves.

let curvesBusy = false;
let curvesKey = "";
async function showCurves(painting) {
  const key = `${painting.number} ${painting.step} ${painting.seconds.run}`;
  if (curvesBusy || key === curvesKey) return;
  curvesBusy = true;
  try {
    const curves = await (await fetch(`/paintings/${painting.number}/curves`)).json();
    for (const name of CURVES) draw(name, curves[name], painting);
    curvesKey = key;
  } catch {
    // the next state brings the next chance
  } finally {
    curvesBusy = false;
  }
}

function draw(name, values, painting) {
  const canvas = $(`curve-${name}`);
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const last = values.at(-1);
  $(`${name}-now`).textContent = last === undefined || last === null ? "" : last.toPrecision(3);
  canvas.dataset.first = values[0] ?? "";
  canvas.dataset.last = last ?? "";
  canvas.dataset.length = values.length;
  const logs = values.map((value) => (value === null || value <= 0 ? null : Math.log(value)));
  const known = logs.filter((value) => value !== null);
  if (!known.length) return;
  const style = getComputedStyle(document.body);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const low = Math.min(...known), high = Math.max(...known), span = Math.max(high - low, 0.05);
  const x = (index) => (index / Math.max(painting.goal, values.length - 1, 1)) * (width - 2) + 1;
  const y = (value) => height - 4 - ((value - low) / span) * (height - 8);
  // Where a knob was moved.
  pen.strokeStyle = style.getPropertyValue("--line");
  for (const change of painting.steering) {
    pen.beginPath();
    pen.moveTo(x(change.step), 0);
    pen.lineTo(x(change.step), height);
    pen.stroke();
  }
  pen.strokeStyle = style.getPropertyValue("--accent");
  pen.lineWidth = 1.5;
  pen.beginPath();
  let down = false;
  logs.forEach((value, index) => {
    if (value === null) { down = false; return; }
    if (down) pen.lineTo(x(index), y(value)); else pen.moveTo(x(index), y(value));
    down = true;
  });
  pen.stroke();
}

// Knobs. Smoothness is a power of two times the preset's own; its left end is none at all.

const factor = (id) => {
  const value = Number($(id).value);
  if (id === "strength") return value;
  return value <= Number($(id).min) ? 0 : Number((2 ** value).toPrecision(4));
};
const position = (value) => (value > 0 ? Math.log2(value) : Number($("smoothness").min));
const times = (value) => (value === 0 ? "none" : `× ${value >= 10 ? value.toFixed(0) : value.toPrecision(2)}`);

function showKnobs(painting) {
  const styles = painting ? painting.styles : state.draft.styles;
  fill($("blend"), styles.length > 1 ? styles : [], () => (styles.length < 2 ? [] : styles.map((id, index) => {
    const label = make("label", "", { textContent: pictureOf(id) ? pictureOf(id).name : id });
    const slider = make("input", "", { type: "range", min: 0, max: 1, step: 0.01, value: 1, id: `blend-${index}` });
    label.append(make("output", "", { id: `blend-${index}-value` }), slider);
    slider.addEventListener("input", moved);
    return label;
  })));
  if (Date.now() - touched > 800) {
    const values = painting ? painting.knobs : knobs;
    $("strength").value = values.strength === null ? state.strength : values.strength;
    $("smoothness").value = values.smoothness === null ? 0 : position(values.smoothness);
    $("colors").value = values.colors === null ? state.colors : values.colors;
    if (values.blend) values.blend.forEach((weight, index) => { if ($(`blend-${index}`)) $(`blend-${index}`).value = weight; });
  }
  label();
}

function label() {
  $("strength-value").textContent = factor("strength").toFixed(2);
  $("smoothness-value").textContent = times(factor("smoothness"));
  const weights = blend(), total = weights.reduce((a, b) => a + b, 0);
  weights.forEach((weight, index) => { $(`blend-${index}-value`).textContent = total ? `${Math.round((100 * weight) / total)} %` : ""; });
}

const blend = () => [...$("blend").querySelectorAll("input")].map((slider) => Number(slider.value));

let waiting = null;
function moved(event) {
  touched = Date.now();
  label();
  const weights = blend();
  const id = event.target.id;
  const changes = id.startsWith("blend") ? { blend: weights } : { [id]: id === "colors" ? $("colors").value : factor(id) };
  if (changes.blend && !weights.some((weight) => weight > 0)) return;
  if (!changes.blend) knobs = { ...knobs, ...changes };
  const number = shown;
  waiting = { number, changes: { ...(waiting && waiting.number === number ? waiting.changes : {}), ...changes } };
  if (!moved.timer) moved.timer = setTimeout(flush, 120);
}

function flush() {
  moved.timer = null;
  const { number, changes } = waiting;
  waiting = null;
  if (paintingOf(number)) send(`/paintings/${number}/knobs`, changes);
}

// Handing pictures in.

async function hand_in(files, role) {
  for (const file of files) {
    if (file.size > state.limits.bytes) {
      say(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB; the studio takes ${state.limits.bytes / 2 ** 20} MB a picture`);
      continue;
    }
    const id = await ask(`/pictures?role=${role}&name=${encodeURIComponent(file.name)}`, file);
    if (id === undefined) return; // what the studio said stays to be read
  }
}

function connect_drop(role) {
  const area = $(`drop-${role}`), input = $(`file-${role}`);
  input.addEventListener("change", async () => { await hand_in([...input.files], role); input.value = ""; });
  area.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); input.click(); } });
  area.addEventListener("dragover", () => area.classList.add("over"));
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    area.classList.remove("over");
    hand_in([...event.dataTransfer.files].slice(0, role === "content" ? 1 : 6), role);
  });
}

// A picture dropped beside an area would otherwise replace the page.
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());

function start() {
  // The token is in a cookie now and need not stay in the address.
  history.replaceState(null, "", "/");
  connect_drop("content");
  connect_drop("style");
  for (const id of ["strength", "smoothness"]) $(id).addEventListener("input", moved);
  $("colors").addEventListener("change", moved);
  $("size").addEventListener("change", () => send("/draft", { size: Number($("size").value) }));
  $("steps").addEventListener("change", () => send("/draft", { steps: Number($("steps").value) }));
  $("paint").addEventListener("click", async () => {
    const chosen = {};
    for (const id of ["strength", "smoothness", "colors"]) if (knobs[id] !== null) chosen[id] = knobs[id];
    const number = await send("/paintings", chosen);
    if (number === undefined) return;
    follow = false;
    shown = number;
    if (paintingOf(shown)) show();
  });
  for (const action of ["pause", "go_on", "stop", "keep"]) {
    $(action).addEventListener("click", () => send(`/paintings/${shown}/${action}`, {}));
  }
  $("double").addEventListener("click", async () => {
    const number = await send(`/paintings/${shown}/double`, {});
    if (number !== undefined) { follow = false; shown = number; }
  });
  setInterval(() => {
    const painting = state && paintingOf(shown);
    if (painting && painting.status === "compiling") $("status").textContent = describe(painting);
  }, 1000);
  const events = new EventSource("/events");
  events.onmessage = (event) => {
    state = JSON.parse(event.data);
    document.body.dataset.version = state.version;
    show();
  };
  // The browser tries again by itself; whatever was said of it goes when the studio answers.
  let lost = false;
  events.onopen = () => { if (lost) say(""); lost = false; };
  events.onerror = () => { lost = true; say("the studio does not answer; is it still running?"); };
  events.addEventListener("closed", (event) => {
    events.close();
    document.body.classList.add("closed");
    say(JSON.parse(event.data));
  });
}

start();
