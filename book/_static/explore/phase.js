// The stored instances of chapter 14: choose a problem, a size d and a number of measurements m, and
// see which of the ten instances the flat program recovers, and which the nuclear norm.
explore.phase = (stage) => {
  const SIGNS = ["●", "×", "◇", "?"];
  const WORDS = ["recovered", "the truth is not the minimiser", "not the only minimiser", "undecided"];
  const { problems, trials } = stage.data;
  const weightings = ["flat", "nuclear"];
  const [columns, rows] = [problems[0].sizes.length, problems[0].measurements[0].length];
  let problem = problems[0];

  const maps = weightings.map((weighting, w) => {
    const panel = explore.panel(stage, {
      x: [-0.5, columns - 0.5], y: [-0.5, rows - 0.5], width: 340, height: 300,
      title: weighting === "flat" ? "flat" : "nuclear norm",
      xlabel: "size d", ylabel: "measurements m, few to many",
    });
    panel.ticks(Array.from({ length: columns }, (_, i) => i), [], (i) => problem.sizes[i]);
    const step = [panel.px(1) - panel.px(0), panel.py(0) - panel.py(1)];
    const cells = problems[0].measurements.map((counts, i) =>
      counts.map((_, j) => explore.add(panel.inside, "rect", {
        x: panel.px(i - 0.5), y: panel.py(j + 0.5), width: step[0], height: step[1],
      })));
    const curve = explore.add(panel.inside, "path", { class: "prediction" });
    const choice = explore.add(panel.inside, "rect", {
      width: step[0], height: step[1], class: "choice",
    });
    panel.inside.classList.add("fl-clickable");
    panel.inside.addEventListener("click", (event) => {
      const [x, y] = panel.place(event);
      size.value = Math.round(x);
      count.value = Math.round(y);
      draw();
    });
    return { panel, cells, curve, choice, w };
  });

  // Below: the instances of the chosen cell, the same ones in both rows.
  const strip = explore.add(stage.panels, "svg", { viewBox: "0 0 340 92", class: "fl-strip" });
  const title = explore.text(strip, "", 8, 14, "tick start");
  const marks = weightings.map((weighting, w) => {
    explore.text(strip, weighting, 62, 40 + 34 * w, "tick end");
    return Array.from({ length: trials }, (_, t) =>
      explore.text(strip, "", 84 + 26 * t, 41 + 34 * w, "outcome"));
  });

  const colour = (share) => {
    // From dark blue over grey to yellow, as in the chapter; it keeps its order without colours.
    const stops = [[0, 34, 78], [124, 123, 120], [254, 232, 56]];
    const [i, t] = share < 0.5 ? [0, 2 * share] : [1, 2 * share - 1];
    return `rgb(${stops[i].map((v, c) => Math.round(v + t * (stops[i + 1][c] - v))).join(",")})`;
  };
  explore.text(strip, "0", 236, 14, "tick end");
  for (let share = 0; share <= 10; share++)
    explore.add(strip, "rect", {
      x: 240 + 7 * share, y: 4, width: 7, height: 11, fill: colour(share / 10),
    });
  explore.text(strip, "10", 321, 14, "tick start");

  const outcomes = (w, i, j) => [...problem.results[w][i].slice(trials * j, trials * (j + 1))].map(Number);
  const recovered = (w, i, j) => outcomes(w, i, j).filter((code) => code === 0).length;
  // The row, with fractions, at which a number of measurements lies in the column of one size.
  const row = (i, m) => {
    const counts = problem.measurements[i];
    return ((m - counts[0]) / (counts[rows - 1] - counts[0])) * (rows - 1);
  };

  const show = () => {
    for (const { panel, cells, curve, w } of maps) {
      cells.forEach((column, i) => column.forEach((cell, j) =>
        cell.setAttribute("fill", colour(recovered(w, i, j) / trials))));
      const points = problem.sizes.flatMap((_, i) => {
        const y = row(i, problem.predicted[i]);
        return [[i - 0.5, y], [i + 0.5, y]];
      });
      explore.set(curve, { d: explore.line(panel, points) });
    }
    draw();
  };
  const draw = () => {
    const [i, j] = [size.value, count.value];
    const [d, m] = [problem.sizes[i], problem.measurements[i][j]];
    for (const { panel, choice } of maps)
      explore.set(choice, { x: panel.px(i - 0.5), y: panel.py(j + 0.5) });
    weightings.forEach((_, w) => outcomes(w, i, j).forEach((code, t) => {
      marks[w][t].textContent = SIGNS[code];
      marks[w][t].setAttribute("class", `outcome outcome-${code}`);
    }));
    title.textContent = `the instances with d = ${d}, m = ${m}`;
    const seen = new Set(weightings.flatMap((_, w) => outcomes(w, i, j)));
    const key = [...seen].sort().map((code) => `${SIGNS[code]} ${WORDS[code]}`).join(", ");
    stage.tell(
      `${problem.name}, d = ${d}, m = ${m} (predicted transition: ${problem.predicted[i]}). ` +
        `Flat recovers ${recovered(0, i, j)} of ${trials}, the nuclear norm ` +
        `${recovered(1, i, j)}. ${key}.`,
    );
  };

  explore.choice(stage, "Problem", problems.map(({ name }) => name), (index) => {
    problem = problems[index];
    size.describe();
    count.describe();
    show();
  });
  const size = explore.slider(stage, "Size", {
    min: 0, max: columns - 1, step: 1, value: 3, words: (i) => `d = ${problem.sizes[i]}`,
  }, () => {
    count.describe();
    draw();
  });
  const count = explore.slider(stage, "Measurements", {
    min: 0, max: rows - 1, step: 1, value: 5,
    words: (j) => `m = ${problem.measurements[size.value][j]}`,
  }, draw);
  show();
};
