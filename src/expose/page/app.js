"use strict";
// Draws the page from /api/v1/status, which it asks for every two seconds while somebody looks.
// Names and values come from logs, so they are put in as text (textContent, setAttribute) and never as markup;
// the page's policy would refuse anything else.
(() => {
  const EVERY = 2000;
  const LINES_MAX = 8;
  const SVG = "http://www.w3.org/2000/svg";
  const $ = (id) => document.getElementById(id);

  // --- Elements.

  function element(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }
  function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
  }
  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  /** Sets a text only where it has changed, so that a selection survives the update. */
  function say(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  // --- Numbers for people.

  const digits = (value, places = 3) =>
    Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3)
      ? value.toExponential(2)
      : value.toLocaleString("en", Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: places });
  const none = (value) => value === null || value === undefined || Number.isNaN(value);
  const either = (format) => (value) => (none(value) ? "–" : format(value));
  const FORMAT = {
    number: either((value) => digits(value)),
    rate: either((value) => `${digits(value)}/s`),
    ratio: either((value) => `${digits(value * 100)} %`),
    seconds: either((value) => {
      const size = Math.abs(value);
      if (size === 0) return "0 s";
      if (size < 1e-3) return `${digits(value * 1e6)} µs`;
      return size < 1 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`;
    }),
    bytes: either((value) => {
      const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
      let at = 0;
      while (Math.abs(value) >= 999.5 && at < units.length - 1) {
        value /= 1024;
        at += 1;
      }
      return `${digits(value)} ${units[at]}`;
    }),
    byterate: either((value) => `${FORMAT.bytes(value)}/s`),
    watts: either((value) => `${digits(value)} W`),
    celsius: either((value) => `${digits(value)} °C`),
  };
  function span(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
  }
  const clock = (seconds, withSeconds) =>
    new Date(seconds * 1000).toLocaleTimeString("en-GB", withSeconds ? {} : { hour: "2-digit", minute: "2-digit" });

  // --- What is known: the last answer, and the points of all charts.

  const known = { status: null, cursor: null, groups: {}, sampledAt: 0, step: 5, points: 180, reach: 36, clockSkew: 0 };

  const nameOf = (labels) => JSON.stringify(labels);
  function take(status) {
    const { history } = status;
    let missed = false;
    for (const [group, { rows, left_out }] of Object.entries(status.groups)) {
      const before = known.groups[group] ? known.groups[group].byName : new Map();
      const byName = new Map();
      for (const row of rows) {
        const name = nameOf(row.labels);
        const old = before.get(name);
        if (!history.is_whole) {
          if (!old) missed = true;
          for (const [chart, points] of Object.entries(row.charts)) {
            const all = ((old && old.charts[chart]) || []).concat(points);
            row.charts[chart] = all.slice(-history.points);
          }
        }
        row.name = name;
        byName.set(name, row);
      }
      known.groups[group] = { byName, rows, leftOut: left_out };
    }
    known.status = status;
    // Points of who has just come are asked for as a whole.
    known.cursor = missed ? null : history.cursor;
    known.sampledAt = history.sampled_at;
    known.step = history.step_seconds;
    known.points = history.points;
    known.reach = reach();
  }
  /** How many samples charts reach back: all there are, at least three minutes. */
  function reach() {
    const lengths = Object.values(known.groups).flatMap(({ rows }) => rows.map((row) => Math.max(0, ...Object.values(row.charts).map((points) => points.length))));
    return Math.min(known.points, Math.max(36, ...lengths));
  }
  const group = (name) => known.groups[name] || { rows: [], leftOut: 0 };
  const serverNow = () => Date.now() / 1000 + known.clockSkew;

  // --- Tables: rows are kept by key, cells change in place.

  /** Columns: [heading, class, (row, cell) => text or nothing if it has filled the cell itself]. */
  function table(place, caption, columns) {
    const head = element("tr", {}, ...columns.map(([text, kind]) => element("th", { scope: "col", class: kind }, text)));
    const body = element("tbody");
    const whole = element("table", { "aria-label": caption }, element("thead", {}, head), body);
    const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${caption}, table` }, whole);
    place.append(scroll);
    const kept = new Map();
    return (rows, key, shown = columns.map(() => true)) => {
      scroll.hidden = rows.length === 0;
      [...head.children].forEach((cell, at) => (cell.hidden = !shown[at]));
      const names = new Set(rows.map(key));
      for (const [name, line] of kept) {
        if (!names.has(name)) {
          line.remove();
          kept.delete(name);
        }
      }
      rows.forEach((row, place) => {
        const name = key(row);
        let line = kept.get(name);
        if (!line) {
          const cells = columns.map(([, kind], at) =>
            at === 0 ? element("th", { scope: "row", class: kind }) : element("td", { class: kind }));
          line = element("tr", {}, ...cells);
          kept.set(name, line);
        }
        if (body.children[place] !== line) body.insertBefore(line, body.children[place] || null);
        columns.forEach(([, , show], at) => {
          const cell = line.children[at];
          cell.hidden = !shown[at];
          const text = show(row, cell);
          if (text !== undefined) say(cell, text);
        });
      });
    };
  }

  /** A number with its last 15 minutes beside it. */
  function spark(cell, text, points) {
    if (!cell.firstChild) {
      const line = svg("svg", { class: "spark", viewBox: "0 0 84 22", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("path"));
      cell.append(element("span"), line);
    }
    say(cell.firstChild, text);
    const top = 1.15 * Math.max(...points.filter((point) => !none(point)), 0) || 1;
    const x = (at) => 1 + (82 * (known.reach - points.length + at)) / (known.reach - 1);
    cell.lastChild.firstChild.setAttribute("d", path(points, x, (value) => 20.5 - (19 * value) / top));
  }

  function path(points, x, y) {
    let text = "";
    let pen = "M";
    points.forEach((value, at) => {
      if (none(value)) {
        pen = "M";
        return;
      }
      text += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      // A point between two gaps is seen as one.
      if (pen === "M" && none(points[at + 1])) text += "h.1";
      pen = "L";
    });
    return text;
  }

  // --- Charts.

  /** The least round number that is not below the value, and the distance of the lines under it. */
  function scale(value, base) {
    if (!(value > 0)) return [1, 0.5];
    const steps = base === 1024 ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 2.5, 5, 10];
    const power = base ** Math.floor(Math.log(value / 4) / Math.log(base));
    const step = power * steps.find((step) => step * power * 4 >= value * 0.9999);
    return [Math.ceil(value / step - 1e-9) * step, step];
  }

  /** A chart; lines: [{ name, points }], the newest point last. */
  function chart(place, title, format, options = {}) {
    const drawing = svg("svg", { role: "img", tabindex: "0" });
    const moment = element("span");
    const rows = element("tbody");
    const legend = element("table", { class: "legend", "aria-label": `${title}, values` },
      element("thead", {}, element("tr", {}, ...["Line", "Now", "Least", "Most"].map((text, at) =>
        element("th", { scope: "col", class: at ? "n" : "unseen" }, text)))), rows);
    const figure = element("figure", {}, element("figcaption", {}, title, moment), drawing, legend);
    place.append(figure);
    let lines = [];
    // How many samples before the newest one the reader points at; none if nowhere.
    let back = null;
    const at = (line, back) => line.points[line.points.length - 1 - back];

    function draw() {
      const { width, height } = drawing.getBoundingClientRect();
      if (width === 0) return;
      const [left, right, top, bottom] = [58, 8, 8, 20];
      const all = lines.flatMap((line) => line.points).filter((value) => !none(value));
      let [most, step] = scale(Math.max(...all, options.least || 0), options.base || 10);
      if (options.most && most > options.most * 0.6) [most, step] = [options.most, options.most / 4];
      const x = (back) => left + (width - left - right) * (1 - back / (known.reach - 1));
      const y = (value) => top + (height - top - bottom) * (1 - Math.min(Math.max(value, 0), most) / most);
      const parts = [];
      for (let value = 0; value <= most * 1.0001; value += step) {
        const line = y(value);
        parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: line, y2: line }));
        parts.push(svg("text", { class: "axis", x: left - 6, y: line + 4, "text-anchor": "end" }, format(value)));
      }
      const end = known.sampledAt || serverNow();
      const seconds = known.step * (known.reach - 1);
      const every = [30, 60, 120, 180, 300].find((every) => (seconds / every) * 52 < width - left - right) || 600;
      for (let mark = Math.floor(end / every) * every; mark > end - seconds; mark -= every) {
        const place = x((end - mark) / known.step);
        if (place > width - right - 14) continue;
        parts.push(svg("line", { class: "grid", x1: place, x2: place, y1: top, y2: height - bottom }));
        parts.push(svg("text", { class: "axis", x: place, y: height - 5, "text-anchor": "middle" }, clock(mark, every < 60)));
      }
      lines.forEach((line, number) => {
        const place = (index) => x(line.points.length - 1 - index);
        const shape = path(line.points, place, y);
        const first = line.points.findIndex((value) => !none(value));
        if (lines.length === 1 && shape && !line.points.slice(first).some(none)) {
          const base = `L${place(line.points.length - 1).toFixed(1)} ${y(0)}L${place(first).toFixed(1)} ${y(0)}Z`;
          parts.push(svg("path", { class: `area s${number}`, d: shape + base }));
        }
        parts.push(svg("path", { class: `plot s${number}`, d: shape }));
      });
      if (all.length === 0) {
        parts.push(svg("text", { class: "axis", x: (left + width) / 2, y: height / 2, "text-anchor": "middle" },
          options.empty || "collecting the first minute"));
      }
      if (back !== null) {
        parts.push(svg("line", { class: "cross", x1: x(back), x2: x(back), y1: top, y2: height - bottom }));
        lines.forEach((line, number) => {
          if (!none(at(line, back))) {
            parts.push(svg("circle", { class: `dot s${number}`, cx: x(back), cy: y(at(line, back)), r: 4 }));
          }
        });
      }
      drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
      drawing.replaceChildren(...parts);
      tell();
    }

    /** The same in words: what is pointed at, or now, and the bounds. */
    function tell() {
      say(moment, back === null ? "" : clock(known.sampledAt - back * known.step, true));
      const words = [];
      while (rows.children.length > lines.length) rows.lastChild.remove();
      lines.forEach((line, number) => {
        const values = line.points.filter((value) => !none(value));
        const now = format(at(line, back || 0));
        const [least, most] = [format(Math.min(...values)), format(Math.max(...values))];
        const texts = values.length ? [line.name, now, least, most] : [line.name, "–", "–", "–"];
        let row = rows.children[number];
        if (!row) {
          const key = element("span", { class: `key s${number}` });
          row = element("tr", {}, element("th", { scope: "row" }, key, element("span")),
            ...[1, 2, 3].map(() => element("td", { class: "n" })));
          rows.append(row);
        }
        say(row.firstChild.lastChild, texts[0]);
        row.firstChild.title = texts[0];
        [1, 2, 3].forEach((at) => say(row.children[at], texts[at]));
        words.push(`${texts[0]} now ${texts[1]}, least ${texts[2]}, most ${texts[3]}`);
      });
      drawing.setAttribute("aria-label", `${title}, last ${span(known.step * known.reach)}. ${words.join("; ") || "No data yet"}.`);
    }

    function point(to) {
      back = to === null ? null : Math.round(Math.min(Math.max(to, 0), known.reach - 1));
      draw();
    }
    drawing.addEventListener("pointermove", (event) => {
      const box = drawing.getBoundingClientRect();
      point((1 - (event.clientX - box.left - 58) / (box.width - 66)) * (known.reach - 1));
    });
    drawing.addEventListener("pointerleave", () => point(null));
    drawing.addEventListener("blur", () => point(null));
    drawing.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: 1, ArrowRight: -1, PageUp: 12, PageDown: -12 }[event.key];
      if (event.key === "Escape") point(null);
      else if (event.key === "Home") point(known.reach - 1);
      else if (event.key === "End") point(0);
      else if (by) point((back || 0) + by);
      else return;
      event.preventDefault();
    });
    new ResizeObserver(draw).observe(drawing);
    return {
      figure,
      show(newLines, newTitle) {
        lines = newLines.slice(0, LINES_MAX);
        if (newTitle) {
          title = newTitle;
          say(figure.firstChild.firstChild, title);
          legend.setAttribute("aria-label", `${title}, values`);
        }
        draw();
      },
    };
  }

  // --- Models.

  const modelName = ({ labels }) => {
    const name = labels.model_name || (labels.family ? `(no model named) ${labels.family}` : "(no name)");
    return labels.model_version && labels.model_version !== "default" ? `${name} ${labels.model_version}` : name;
  };
  let model = "";
  const modelTable = table($("model-table"), "Models", [
    ["Model", "", (row, cell) => {
      cell.title = `from ${row.labels.family}`;
      return row.labels.model_name || "(no model named)";
    }],
    ["Version", "", (row) => row.labels.model_version || "–"],
    ["Requests/s", "n", (row, cell) => spark(cell, FORMAT.number(row.now.requests_per_second), row.charts.requests_per_second)],
    ["Errors", "n", (row, cell) => {
      cell.classList.toggle("warn", row.now.error_ratio > 0.01);
      return FORMAT.ratio(row.now.error_ratio);
    }],
    ["p50", "n", (row) => FORMAT.seconds(row.now.p50_seconds)],
    ["p95", "n", (row, cell) => spark(cell, FORMAT.seconds(row.now.p95_seconds), row.charts.p95_seconds)],
    ["p99", "n", (row) => FORMAT.seconds(row.now.p99_seconds)],
    ["Queue", "n", (row) => FORMAT.number(row.now.queue_length)],
    ["Batch", "n", (row) => FORMAT.number(row.now.batch_size)],
    ["Requests", "n", (row) => FORMAT.number(row.facts.requests)],
    ["Workers", "n", (row) => FORMAT.number(row.facts.workers)],
    ["GPU memory", "n", (row) => FORMAT.bytes(row.facts.gpu_memory_bytes)],
  ]);
  const modelCharts = [
    chart($("model-charts"), "Requests per second", FORMAT.number),
    chart($("model-charts"), "Latency p95", FORMAT.seconds),
    chart($("model-charts"), "Queue length", FORMAT.number, { empty: "this server logs no queue times" }),
    chart($("model-charts"), "Errors", FORMAT.ratio, { empty: "no answers by code yet" }),
  ];
  function showModels() {
    const { rows, leftOut } = group("models");
    const hasMemory = rows.some((row) => !none(row.facts.gpu_memory_bytes));
    const hasWorkers = rows.some((row) => !none(row.facts.workers));
    modelTable(rows, (row) => row.name, [...Array(10).fill(true), hasWorkers, hasMemory]);
    const notes = [];
    if (rows.length === 0) notes.push("No model has answered a request yet. Rows and charts appear with the first lines about requests.");
    if (leftOut) notes.push(`${leftOut} more models have no charts: the memory for charts goes to the busiest ones. All are in the series below.`);
    say($("model-note"), notes.join(" "));
    const choice = $("model");
    const names = ["", ...rows.map((row) => row.name)];
    if (JSON.stringify(names) !== choice.dataset.names) {
      choice.dataset.names = JSON.stringify(names);
      choice.replaceChildren(element("option", { value: "" }, "all models"),
        ...rows.map((row) => element("option", { value: row.name }, modelName(row))));
      if (!names.includes(model)) model = "";
      choice.value = model;
    }
    const one = rows.find((row) => row.name === model);
    const of = (name) => (one ? [one] : rows).slice(0, LINES_MAX).map((row) => ({ name: modelName(row), points: row.charts[name] }));
    const [requests, latency, queue, errors] = modelCharts;
    $("model-charts").hidden = rows.length === 0;
    const suffix = !one && rows.length > LINES_MAX ? `, the ${LINES_MAX} busiest` : "";
    requests.show(of("requests_per_second"), `Requests per second${suffix}`);
    if (one) latency.show(["p50", "p95", "p99"].map((name) => ({ name, points: one.charts[`${name}_seconds`] })), "Latency");
    else latency.show(of("p95_seconds"), `Latency p95${suffix}`);
    queue.show(of("queue_length"), `Queue length${suffix}`);
    errors.show(of("error_ratio"), `Errors${suffix}`);
  }
  $("model").addEventListener("change", (event) => {
    model = event.target.value;
    showModels();
  });

  const unitOf = (family) => (/seconds/.test(family) ? FORMAT.seconds : /_bytes/.test(family) ? FORMAT.bytes : FORMAT.number);
  const histogramValue = (name) => (row) => unitOf(row.labels.family)(row.now[name]);
  const histogramTable = table($("histogram-table"), "Histograms", [
    ["Family", "", (row) => row.labels.family],
    ["Per second", "n", (row, cell) => spark(cell, FORMAT.number(row.now.per_second), row.charts.per_second)],
    ["Mean", "n", histogramValue("mean")],
    ["p50", "n", histogramValue("p50")],
    ["p95", "n", (row, cell) => spark(cell, histogramValue("p95")(row), row.charts.p95)],
    ["p99", "n", histogramValue("p99")],
    ["Count", "n", (row) => FORMAT.number(row.facts.count)],
    ["Series", "n", (row) => FORMAT.number(row.facts.series)],
  ]);

  // --- The machine.

  const hostCharts = $("host-charts");
  const host = [
    [chart(hostCharts, "CPU", FORMAT.ratio, { most: 1 }), ["cpu_ratio"], ["busy"]],
    [chart(hostCharts, "Memory", FORMAT.ratio, { most: 1 }), ["memory_ratio"], ["used"]],
    [chart(hostCharts, "Load", FORMAT.number), ["load"], ["1 minute"]],
    [chart(hostCharts, "Disks", FORMAT.byterate, { base: 1024, least: 1024 }), ["disk_read_bytes_per_second", "disk_written_bytes_per_second"], ["read", "written"]],
    [chart(hostCharts, "Network", FORMAT.byterate, { base: 1024, least: 1024, empty: "no interface beside lo" }), ["network_received_bytes_per_second", "network_sent_bytes_per_second"], ["received", "sent"]],
  ];
  const gpuName = ({ labels }) => `${labels.index ?? ""} ${labels.name || labels.uuid}`.trim();
  const gpuTable = table($("gpu-table"), "GPUs", [
    ["GPU", "", (row, cell) => {
      cell.title = row.labels.uuid;
      return gpuName(row);
    }],
    ["Busy", "n", (row, cell) => spark(cell, FORMAT.ratio(row.now.utilization_ratio), row.charts.utilization_ratio)],
    ["Memory used", "n", (row, cell) => spark(cell, FORMAT.bytes(row.now.memory_used_bytes), row.charts.memory_used_bytes)],
    ["of", "n", (row) => FORMAT.bytes(row.facts.memory_total_bytes)],
    ["Power", "n", (row, cell) => spark(cell, FORMAT.watts(row.now.power_watts), row.charts.power_watts)],
    ["Temperature", "n", (row) => FORMAT.celsius(row.now.temperature_celsius)],
  ]);
  const gpuCharts = [
    [chart($("gpu-charts"), "GPUs busy", FORMAT.ratio, { most: 1 }), "utilization_ratio"],
    [chart($("gpu-charts"), "GPU memory used", FORMAT.bytes, { base: 1024 }), "memory_used_bytes"],
    [chart($("gpu-charts"), "GPU power", FORMAT.watts), "power_watts"],
  ];
  const workerTable = table($("worker-table"), "Workers", [
    ["Worker", "", (row) => row.labels.worker_name || "–"],
    ["Model", "", (row) => modelName(row)],
    ["CPUs", "n", (row, cell) => spark(cell, FORMAT.number(row.now.cpu_cores), row.charts.cpu_cores)],
    ["Memory", "n", (row, cell) => spark(cell, FORMAT.bytes(row.now.resident_bytes), row.charts.resident_bytes)],
    ["GPU memory", "n", (row) => FORMAT.bytes(row.now.gpu_memory_bytes)],
    ["Threads", "n", (row) => FORMAT.number(row.facts.threads)],
    ["Runs for", "n", (row) => (row.facts.start_time_seconds ? span(serverNow() - row.facts.start_time_seconds) : "–")],
  ]);
  const cgroupTable = table($("cgroup-table"), "Containers", [
    ["Container", "", (row) => ({ self: "inferometer's own", server: "the model server's" })[row.labels.of] || row.labels.of || "–"],
    ["CPUs", "n", (row, cell) => spark(cell, FORMAT.number(row.now.cpu_cores), row.charts.cpu_cores)],
    ["of", "n", (row) => FORMAT.number(row.facts.cpu_limit_cores)],
    ["Throttled", "n", (row) => FORMAT.ratio(row.now.throttled_ratio)],
    ["Memory", "n", (row, cell) => spark(cell, FORMAT.bytes(row.now.memory_bytes), row.charts.memory_bytes)],
    ["of", "n", (row) => FORMAT.bytes(row.facts.memory_limit_bytes)],
    ["Out of memory", "n", (row) => FORMAT.number(row.facts.oom_events)],
  ]);
  const more = (name, what) => {
    const { leftOut } = group(name);
    return leftOut ? `${leftOut} more ${what} have no charts: the memory for charts goes to the busiest ones.` : "";
  };
  function showMachine() {
    const [machine] = group("host").rows;
    hostCharts.hidden = !machine;
    if (machine) {
      const { cpu_cores: cores, memory_total_bytes: memory } = machine.facts;
      for (const [drawn, charts, names] of host) {
        const title = { cpu_ratio: `CPU: ${FORMAT.number(cores)} cores`, memory_ratio: `Memory: ${FORMAT.bytes(memory)}` }[charts[0]];
        drawn.show(charts.map((chart, at) => ({ name: names[at], points: machine.charts[chart] })), title);
      }
    }
    const gpus = [...group("gpus").rows].sort((a, b) => (a.labels.index || 0) - (b.labels.index || 0));
    gpuTable(gpus, (row) => row.name);
    $("gpu-charts").hidden = gpus.length === 0;
    for (const [drawn, name] of gpuCharts) {
      drawn.show(gpus.map((row) => ({ name: gpuName(row), points: row.charts[name] })));
    }
    const workers = group("workers").rows;
    const gpuNotes = [more("gpus", "GPUs")];
    if (gpus.length === 0) gpuNotes.push("None is measured here: NVIDIA's driver is not in sight of this process (in a container it takes the utility capability), or --no-collector.gpu.");
    else if (!workers.some((row) => !none(row.now.gpu_memory_bytes))) {
      gpuNotes.push("GPU memory per model is not known: it takes the workers' processes in sight (shareProcessNamespace: true, or --pid=container:SERVER) and a driver that tells process ids of our namespace; others take hostPID: true.");
    }
    say($("gpu-note"), gpuNotes.join(" ").trim());
    workerTable(workers, (row) => row.name);
    say($("worker-note"), workers.length ? more("workers", "workers") :
      "No worker process is in sight. In a pod it takes shareProcessNamespace: true, with docker --pid=container:SERVER; workers of other servers than TorchServe take a rule in process: of the configuration.");
    const cgroups = group("cgroups").rows;
    cgroupTable(cgroups, (row) => row.name);
    say($("cgroup-note"), cgroups.length ? "" : "No cgroup is measured here.");
  }

  // --- Sources.

  const linesOf = (row) => group("sources").rows.find(({ labels }) => labels.source === row.name);
  const sourceTable = table($("source-table"), "Sources", [
    ["File", "", (row) => row.name],
    ["Format", "", (row) => row.format || "not recognised yet"],
    ["State", "", (row, cell) => {
      cell.classList.toggle("warn", row.is_stale);
      return row.is_stale ? "replaced behind a mount" : row.is_active ? "followed" : "waits for the file";
    }],
    ["Unread", "n", (row) => FORMAT.bytes(row.lag_bytes)],
    ["Lines/s", "n", (row, cell) => {
      const charted = linesOf(row);
      spark(cell, FORMAT.number(charted && charted.now.lines_per_second), charted ? charted.charts.lines_per_second : []);
    }],
    ["Last line", "n", (row) => (none(row.last_line_at) ? "–" : `${span(serverNow() - row.last_line_at)} ago`)],
    ["Lines", "n", (row) => FORMAT.number(Object.values(row.lines).reduce((sum, count) => sum + count, 0))],
    ["Rotations", "n", (row) => FORMAT.number(row.rotations)],
    ["Rejected", "", (row, cell) => {
      const reasons = Object.entries(row.rejected);
      cell.classList.toggle("warn", reasons.length > 0);
      return reasons.length ? reasons.map(([reason, count]) => `${reason} ${digits(count)}`).join(", ") : "none";
    }],
  ]);
  function showSources() {
    const { sources, program } = known.status;
    sourceTable(sources, (row) => row.name);
    say($("source-note"), sources.length ? more("sources", "sources") : "No log file is followed yet.");
    const shown = program.shows_lines ? sources.filter((source) => source.last_lines && source.last_lines.length) : [];
    const texts = JSON.stringify(shown.map((source) => [source.name, source.last_lines]));
    if ($("lines").dataset.texts !== texts) {
      const open = new Set([...$("lines").querySelectorAll("details[open]")].map((details) => details.dataset.name));
      $("lines").dataset.texts = texts;
      $("lines").replaceChildren(...shown.map((source) => {
        const details = element("details", { "data-name": source.name }, element("summary", {}, `Newest lines of ${source.name}`),
          element("pre", { tabindex: "0", "aria-label": `Newest lines of ${source.name}` }, source.last_lines.join("\n")));
        details.open = open.has(source.name);
        return details;
      }));
    }
  }

  // --- All series.

  const promql = ({ name, labels, type }) => {
    const set = labels ? `{${labels}}` : "";
    if (type === "counter") return `rate(${name}${set}[5m])`;
    if (type === "histogram") return `histogram_quantile(0.95, sum by (le) (rate(${name}_bucket${set}[5m])))`;
    if (type === "summary") return `rate(${name}_sum${set}[5m]) / rate(${name}_count${set}[5m])`;
    return name + set;
  };
  const plain = (text) => text.replace(/\.0$/, "");
  const seriesTable = table($("series-table"), "Series", [
    ["Name", "name", (row, cell) => {
      if (!cell.firstChild) cell.append(element("span"), element("small"));
      say(cell.firstChild, row.name);
      say(cell.lastChild, row.help);
    }],
    ["Labels", "labels", (row, cell) => {
      // A row's labels never change: they are its key. Lines are broken between them.
      if (!cell.firstChild) cell.append(...row.labels.split(/(?<=",)/).flatMap((part) => [part, element("wbr")]));
    }],
    ["Value", "n", (row) => (row.sum === undefined ? plain(row.value) : `${plain(row.value)} · sum ${plain(row.sum)}`)],
    ["Type", "", (row) => row.type],
    ["PromQL", "", (row, cell) => {
      if (!cell.firstChild) {
        const button = element("button", { type: "button", "aria-label": `Copy PromQL for ${row.name}{${row.labels}}`, title: promql(row) }, "Copy");
        button.addEventListener("click", () => copy(promql(row)));
        cell.append(button);
      }
    }],
  ]);
  const search = { words: "", offset: 0, isSeen: false, page: 50 };
  function showSeries() {
    const page = known.status.series;
    if (!page) return;
    if (page.offset >= page.found && page.found > 0) {
      search.offset = 0;
      return ask();
    }
    seriesTable(page.rows, (row) => `${row.name}{${row.labels}}`);
    $("series-table").dataset.words = page.words;
    const last = page.offset + page.rows.length;
    say($("found"), page.found === 0 ? `None of ${digits(page.all)} series fits.` :
      `${page.offset + 1} to ${last} of ${digits(page.found)}${page.found < page.all ? ` that fit, of ${digits(page.all)} in all` : " series"}`);
    $("back").disabled = page.offset === 0;
    $("next").disabled = last >= page.found;
  }
  function turn(by) {
    search.offset = Math.max(0, search.offset + by * search.page);
    ask();
  }
  $("back").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  $("search").addEventListener("submit", (event) => event.preventDefault());
  $("words").addEventListener("input", (event) => {
    search.words = event.target.value;
    search.offset = 0;
    ask();
  });
  new IntersectionObserver(([entry]) => {
    const wasSeen = search.isSeen;
    search.isSeen = entry.isIntersecting;
    if (search.isSeen && !wasSeen) ask();
  }, { rootMargin: "400px" }).observe($("series"));

  let silence;
  async function copy(text) {
    let isDone = false;
    try {
      await navigator.clipboard.writeText(text);
      isDone = true;
    } catch {
      // Browsers have a clipboard only where the connection is secure; the old way works anywhere.
      const area = element("textarea", { readonly: "", "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      isDone = document.execCommand("copy");
      area.remove();
    }
    say($("said"), isDone ? `Copied: ${text}` : text);
    clearTimeout(silence);
    silence = setTimeout(() => say($("said"), ""), 4000);
  }

  // --- The head of the page.

  function showHead() {
    const { program, sources } = known.status;
    say($("version"), program.version);
    $("metrics").setAttribute("href", program.telemetry_path.replace(/^\//, ""));
    const saved = program.is_durable === null ? "in memory only" : program.is_durable ? "saved" : "not saved at present";
    const followed = sources.filter((source) => source.is_active).length;
    const facts = [
      ["Up", span(serverNow() - program.started_at)],
      ["Follows", `${followed} ${followed === 1 ? "file" : "files"}`],
      ["Series of logs", digits(program.series)],
      ["State", saved],
    ];
    const list = $("facts");
    facts.forEach(([name, value], at) => {
      if (!list.children[at]) list.append(element("div", {}, element("dt"), element("dd")));
      say(list.children[at].firstChild, name);
      say(list.children[at].lastChild, value);
    });
  }
  function showHints() {
    const { hints } = known.status;
    $("hints").hidden = hints.length === 0;
    const texts = JSON.stringify(hints);
    if ($("hint-list").dataset.texts === texts) return;
    $("hint-list").dataset.texts = texts;
    $("hint-list").replaceChildren(...hints.map(({ text, yaml }) => {
      const item = element("li", {}, text);
      if (yaml) {
        const button = element("button", { type: "button", "aria-label": `Copy ${yaml}` }, "Copy");
        button.addEventListener("click", () => copy(yaml));
        item.append(element("div", { class: "yaml" }, element("code", {}, yaml), button));
      }
      return item;
    }));
  }
  function showState(kind, text) {
    const state = $("state");
    state.className = `pill ${kind}`;
    say(state, text);
  }

  // --- Asking.

  const asked = { timer: 0, running: null, tags: { url: "", tag: "" }, isPaused: false, failures: 0 };
  async function ask() {
    clearTimeout(asked.timer);
    // Only the newest question counts: a search may be typed faster than it is answered.
    if (asked.running) asked.running.abort();
    const mine = new AbortController();
    asked.running = mine;
    const patience = setTimeout(() => mine.abort("slow"), 10000);
    try {
      const query = new URLSearchParams();
      if (known.cursor) query.set("since", known.cursor);
      if (search.isSeen) {
        query.set("series", search.words);
        query.set("offset", search.offset);
        query.set("limit", search.page);
      }
      const url = `api/v1/status?${query}`;
      const headers = asked.tags.url === url ? { "If-None-Match": asked.tags.tag } : {};
      const response = await fetch(url, { headers, cache: "no-store", signal: mine.signal });
      if (response.status !== 304) {
        if (!response.ok) throw new Error(`the answer was ${response.status}`);
        const status = await response.json();
        if (asked.running !== mine) return;
        if (status.series) status.series.words = query.get("series");
        take(status);
        asked.tags = { url, tag: response.headers.get("etag") || "" };
      }
      const date = Date.parse(response.headers.get("date"));
      // The header has whole seconds: a clock that is nearly right is left alone.
      const skew = (date - Date.now()) / 1000;
      known.clockSkew = Math.abs(skew) > 2 ? skew : 0;
      asked.failures = 0;
      draw();
    } catch (error) {
      if (asked.running !== mine) return;
      asked.failures += 1;
      lost();
    } finally {
      clearTimeout(patience);
      if (asked.running === mine) {
        asked.running = null;
        again();
      }
    }
  }
  function again() {
    clearTimeout(asked.timer);
    if (!asked.isPaused && !document.hidden) asked.timer = setTimeout(ask, EVERY);
  }
  function draw() {
    const { state } = known.status.program;
    document.body.classList.remove("lost");
    $("lost").hidden = true;
    showState(state === "following" ? "good" : state === "stuck" ? "bad" : "", asked.isPaused ? `${state}, paused` : state);
    document.title = `inferometer · ${state}`;
    showHead();
    showHints();
    showModels();
    histogramTable(group("histograms").rows, (row) => row.name);
    say($("histogram-note"), [
      group("histograms").rows.length ? "All series of a family together, in its own unit." : "The logs have no histogram yet.",
      more("histograms", "histograms"),
    ].join(" ").trim());
    showMachine();
    showSources();
    showSeries();
  }
  function lost() {
    showState("bad", "connection lost");
    document.body.classList.add("lost");
    document.title = "inferometer · connection lost";
    const note = $("lost");
    note.hidden = false;
    say(note, known.sampledAt
      ? `inferometer does not answer. What is below was true at ${clock(known.sampledAt, true)}. Trying again every ${EVERY / 1000} seconds.`
      : `inferometer does not answer. Trying again every ${EVERY / 1000} seconds.`);
  }
  $("pause").addEventListener("click", (event) => {
    asked.isPaused = !asked.isPaused;
    event.target.setAttribute("aria-pressed", asked.isPaused);
    if (asked.isPaused) {
      clearTimeout(asked.timer);
      if (known.status) showState("", `${known.status.program.state}, paused`);
    } else ask();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(asked.timer) : asked.isPaused || ask()));
  ask();
})();
