// The frame of every explorable: a figure whose pictures a reader moves. Each explorable is a
// function `explore.NAME(stage)` in a file of its own; it draws into the panels of the figure and
// adds its controls. Without scripts the page shows the panels as `make stills` stored them.
// Everything is plain SVG and native controls, so keyboard, touch and zoom work by themselves.
const explore = {};

explore.start = (figure) => {
  const panels = figure.querySelector(".fl-panels");
  const still = [...panels.childNodes];
  const controls = document.createElement("div");
  const buttons = document.createElement("div");
  const readout = document.createElement("p");
  controls.className = "fl-explorable-controls";
  buttons.className = "fl-buttons";
  readout.className = "fl-readout";
  controls.append(buttons, readout);
  const data = figure.querySelector("script[type='application/json']");
  panels.replaceChildren();
  panels.after(controls);
  try {
    explore[figure.dataset.name]({
      panels,
      buttons,
      data: data && JSON.parse(data.textContent),
      // What the picture shows now, in words. It is read aloud, so not while something moves.
      tell(text, aloud = true) {
        readout.setAttribute("aria-live", aloud ? "polite" : "off");
        readout.textContent = text;
        panels.setAttribute("aria-label", text);
      },
    });
  } catch (error) {
    panels.replaceChildren(...still);
    controls.remove();
    console.error(error);
  }
};

// A picture with axes that run over the ranges `x` and `y` of the data. `px` and `py` take data to
// pixels, `place` takes a pointer event to data (linear axes).
explore.panel = (stage, { x, y, width = 340, height = 300, title, xlabel, ylabel, log = false }) => {
  const [left, right, top, bottom] = [44, 8, 26, 40];
  const frame = { x: left, y: top, width: width - left - right, height: height - top - bottom };
  const scale = log ? Math.log : (value) => value;
  const px = (value) => left + ((value - x[0]) / (x[1] - x[0])) * frame.width;
  const py = (value) => {
    const [low, high] = y.map(scale);
    return top + ((high - scale(value)) / (high - low)) * frame.height;
  };
  const svg = explore.add(stage.panels, "svg", { viewBox: `0 0 ${width} ${height}` });
  const id = `${stage.panels.parentElement.dataset.name}-clip-${stage.panels.children.length}`;
  explore.add(explore.add(svg, "clipPath", { id }), "rect", frame);
  explore.add(svg, "rect", { ...frame, class: "frame" });
  explore.text(svg, title, left + frame.width / 2, 17, "title");
  explore.text(svg, xlabel, left + frame.width / 2, height - 6, "label");
  if (ylabel) {
    const middle = top + frame.height / 2;
    const label = explore.text(svg, ylabel, 13, middle, "label");
    label.setAttribute("transform", `rotate(-90 13 ${middle})`);
  }
  const inside = explore.add(svg, "g", { "clip-path": `url(#${id})` });
  const place = (event) => {
    const box = svg.getBoundingClientRect();
    const [u, v] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return [
      x[0] + ((u * width - left) / frame.width) * (x[1] - x[0]),
      y[1] - ((v * height - top) / frame.height) * (y[1] - y[0]),
    ];
  };
  return {
    inside,
    px,
    py,
    place,
    ticks(xs, ys, words = (v) => String(v).replace("-", "−")) {
      for (const v of xs) explore.text(svg, words(v), px(v), height - bottom + 16, "tick");
      for (const v of ys) explore.text(svg, words(v), left - 6, py(v) + 4, "tick end");
    },
  };
};

explore.add = (parent, tag, attributes = {}) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  explore.set(node, attributes);
  parent.append(node);
  return node;
};

explore.set = (node, attributes) => {
  for (const [name, value] of Object.entries(attributes))
    node.setAttribute(name, typeof value === "number" ? explore.round(value) : value);
};

explore.round = (value) => Math.round(10 * value) / 10;

explore.text = (parent, words, x, y, style) => {
  const node = explore.add(parent, "text", { x, y, class: style });
  node.textContent = words;
  return node;
};

// A path through points given in data units.
explore.line = (panel, points) =>
  "M" + points.map(([x, y]) => `${explore.round(panel.px(x))},${explore.round(panel.py(y))}`).join("L");

// Controls: a labelled slider, choice or button that calls `change` with its value.
explore.slider = (stage, label, { min, max, step, value, words }, change) => {
  const box = document.createElement("label");
  const input = document.createElement("input");
  const shown = document.createElement("span");
  Object.assign(input, { type: "range", min, max, step, value });
  box.append(label, input, shown);
  stage.buttons.before(box);
  const describe = () => {
    shown.textContent = words(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => {
    describe();
    change(Number(input.value));
  });
  describe();
  return {
    get value() {
      return Number(input.value);
    },
    // Move the slider from outside; `change` is not called.
    set value(value) {
      input.value = value;
      describe();
    },
    describe,
  };
};

explore.choice = (stage, label, options, change) => {
  const box = document.createElement("label");
  const select = document.createElement("select");
  for (const option of options) select.append(new Option(option));
  box.append(label, select);
  stage.buttons.before(box);
  select.addEventListener("change", () => change(select.selectedIndex));
};

explore.button = (stage, label, press) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", press);
  stage.buttons.append(button);
  return button;
};

// Random numbers that every browser draws alike (the generator mulberry32).
explore.random = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};

explore.normal = (uniform) =>
  Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

document.addEventListener("DOMContentLoaded", () => {
  for (const figure of document.querySelectorAll("figure.fl-explorable")) explore.start(figure);
});
