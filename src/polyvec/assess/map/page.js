"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const places = new Uint16Array(bytes(data.points).buffer); // x, y of each row, 0 to 65535
  const clusters = new Uint16Array(bytes(data.clusters).buffer);
  const shades = new Uint8Array(bytes(data.shades).buffer); // number of each row's colour
  const count = clusters.length;
  const px = new Float32Array(count);
  const py = new Float32Array(count);
  for (let row = 0; row < count; row++) {
    px[row] = (places[2 * row] / 65535) * data.width;
    py[row] = (1 - places[2 * row + 1] / 65535) * data.height;
  }
  const title = (row) => (data.titles && data.titles[row]) || String(data.ids ? data.ids[row] : row);
  const named = (row) => (clusters[row] === 65535 ? "in no group" : data.clusterNames[clusters[row]].label);

  // Rows by colour, those without one first, so that each colour is set once for a frame and lies above the grey.
  const order = Uint32Array.from({ length: count }, (_, row) => row);
  const depth = (row) => (shades[row] === data.none ? -1 : shades[row]);
  order.sort((a, b) => depth(a) - depth(b) || a - b);

  // Rows by the cell of a grid, to find the one under the pointer.
  const GRID = 128;
  const cellOf = (x, y) =>
    Math.min(GRID - 1, Math.max(0, Math.floor((x / data.width) * GRID))) +
    GRID * Math.min(GRID - 1, Math.max(0, Math.floor((y / data.height) * GRID)));
  const starts = new Uint32Array(GRID * GRID + 1);
  for (let row = 0; row < count; row++) starts[cellOf(px[row], py[row]) + 1]++;
  for (let cell = 0; cell < GRID * GRID; cell++) starts[cell + 1] += starts[cell];
  const filled = starts.slice();
  const inCell = new Uint32Array(count);
  for (let row = 0; row < count; row++) inCell[filled[cellOf(px[row], py[row])]++] = row;

  const canvas = document.getElementById("map");
  const pen = canvas.getContext("2d");
  const tip = document.getElementById("tip");
  const list = document.getElementById("list");
  const find = document.getElementById("find");
  const said = document.getElementById("said");
  let wide = 1, high = 1, ratio = 1;
  let view = { x: data.width / 2, y: data.height / 2, scale: 1 };
  let whole = 1;
  let theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  let shown = null; // Uint8Array of rows that stand out, or null for all
  let focus = -1;
  let over = -1;
  let waiting = false;

  const toX = (x) => (x - view.x) * view.scale + wide / 2;
  const toY = (y) => (y - view.y) * view.scale + high / 2;
  const later = () => {
    if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); }
  };

  function draw() {
    const look = data.themes[theme];
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.globalAlpha = 1;
    pen.fillStyle = look.paper;
    pen.fillRect(0, 0, wide, high);
    const zoom = view.scale / whole;
    const size = Math.min(9, Math.min(8, Math.max(1.6, 210 / Math.sqrt(count))) * Math.pow(zoom, 0.3));
    const round = size > 3.5;
    const base = count > 20000 ? 0.55 : count > 2000 ? 0.7 : 0.85;
    let last = "";
    for (let pass = 0; pass < (shown ? 2 : 1); pass++) {
      for (let place = 0; place < count; place++) {
        const row = order[place];
        if (shown && shown[row] !== pass) continue;
        const x = toX(px[row]), y = toY(py[row]);
        if (x < -8 || y < -8 || x > wide + 8 || y > high + 8) continue;
        const color = shown && !pass ? look.none : look.colors[shades[row]];
        const key = color + pass;
        if (key !== last) { last = key; pen.fillStyle = color; pen.globalAlpha = shown ? (pass ? 1 : 0.25) : base; }
        if (round) { pen.beginPath(); pen.arc(x, y, size / 2, 0, 6.2832); pen.fill(); }
        else pen.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }
    pen.globalAlpha = 1;
    names(look, zoom);
    for (const row of [over, focus]) {
      if (row < 0) continue;
      pen.beginPath();
      pen.arc(toX(px[row]), toY(py[row]), Math.max(5, size), 0, 6.2832);
      pen.lineWidth = 2;
      pen.strokeStyle = look.ink;
      pen.stroke();
    }
  }

  // The largest groups first; a name that would cover another waits until the reader comes nearer.
  function names(look, zoom) {
    const taken = [];
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    for (const cluster of data.clusterNames) {
      const size = Math.round(11 + 4 * Math.sqrt(cluster.count / data.clusterNames[0].count));
      pen.font = `600 ${size}px system-ui, sans-serif`;
      const lines = broken(cluster.label);
      const half = Math.max(...lines.map((line) => pen.measureText(line).width)) / 2 + 3;
      const tall = lines.length * size * 0.6;
      const middle = toX(cluster.px), level = toY(cluster.py);
      if (middle < -20 || level < -20 || middle > wide + 20 || level > high + 20) continue;
      const x = Math.min(wide - half, Math.max(half, middle));
      const above = level - toY(cluster.top) + tall + 2; // to just above a group that its name would cover
      for (const shift of above < 3.5 * tall ? [-above, above, 0] : [0, -1.5 * tall, 1.5 * tall]) {
        const y = Math.min(high - tall, Math.max(tall, level + shift));
        const box = [x - half, y - tall, x + half, y + tall];
        if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
        taken.push(box);
        pen.lineWidth = 4;
        pen.strokeStyle = look.paper;
        pen.fillStyle = look.ink;
        lines.forEach((line, place) => {
          const base = y + (place - (lines.length - 1) / 2) * size * 1.15;
          pen.strokeText(line, x, base);
          pen.fillText(line, x, base);
        });
        break;
      }
      if (taken.length > 40 + 20 * zoom) break;
    }
  }

  // A long label on two lines, broken at the comma nearest to its middle.
  function broken(label) {
    if (label.length <= 18 || !label.includes(", ")) return [label];
    let best = -1;
    for (let place = label.indexOf(", "); place >= 0; place = label.indexOf(", ", place + 1)) {
      if (best < 0 || Math.abs(place - label.length / 2) < Math.abs(best - label.length / 2)) best = place;
    }
    return [label.slice(0, best + 1), label.slice(best + 2)];
  }

  function near(x, y, reach) {
    const left = (x - reach - wide / 2) / view.scale + view.x, right = (x + reach - wide / 2) / view.scale + view.x;
    const top = (y - reach - high / 2) / view.scale + view.y, bottom = (y + reach - high / 2) / view.scale + view.y;
    const first = cellOf(left, top), final = cellOf(right, bottom);
    let best = -1, least = reach * reach;
    for (let line = Math.floor(first / GRID); line <= Math.floor(final / GRID); line++) {
      for (let cell = line * GRID + (first % GRID); cell <= line * GRID + (final % GRID); cell++) {
        for (let place = starts[cell]; place < starts[cell + 1]; place++) {
          const row = inCell[place];
          if (shown && !shown[row]) continue;
          const away = (toX(px[row]) - x) ** 2 + (toY(py[row]) - y) ** 2;
          if (away < least) { least = away; best = row; }
        }
      }
    }
    return best;
  }

  function bounded() {
    view.scale = Math.min(whole * 400, Math.max(whole * 0.5, view.scale));
    view.x = Math.min(data.width, Math.max(0, view.x));
    view.y = Math.min(data.height, Math.max(0, view.y));
  }
  function zoomAt(x, y, factor) {
    const fx = (x - wide / 2) / view.scale + view.x, fy = (y - high / 2) / view.scale + view.y;
    view.scale *= factor;
    bounded();
    view.x = fx - (x - wide / 2) / view.scale;
    view.y = fy - (y - high / 2) / view.scale;
    bounded();
    later();
  }
  function fit(rows) {
    let low = [Infinity, Infinity], top = [-Infinity, -Infinity];
    if (rows && rows.length) {
      // without the outermost twentieth, so that one stray point does not decide
      const xs = Float32Array.from(rows, (row) => px[row]).sort(), ys = Float32Array.from(rows, (row) => py[row]).sort();
      const cut = Math.floor(rows.length / 40);
      low = [xs[cut], ys[cut]];
      top = [xs[rows.length - 1 - cut], ys[rows.length - 1 - cut]];
    } else { low = [0, 0]; top = [data.width, data.height]; }
    const margin = rows ? 0.75 : 0.9;
    const across = Math.max(top[0] - low[0], data.width / 60), down = Math.max(top[1] - low[1], data.height / 60, 1e-6);
    view = { x: (low[0] + top[0]) / 2, y: (low[1] + top[1]) / 2, scale: margin * Math.min(wide / across, high / down) };
    bounded();
    later();
  }
  function resize() {
    const box = canvas.getBoundingClientRect();
    const before = whole;
    wide = box.width; high = box.height; ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(high * ratio);
    whole = 0.9 * Math.min(wide / data.width, high / Math.max(data.height, 1e-6));
    view.scale *= whole / before;
    bounded();
    later();
  }

  function hover(x, y) {
    over = x === null ? -1 : near(x, y, 14);
    canvas.classList.toggle("over", over >= 0);
    tip.style.visibility = over < 0 ? "hidden" : "visible";
    if (over >= 0) {
      tip.replaceChildren(title(over), Object.assign(document.createElement("small"), { textContent: told(over) }));
      const left = Math.min(Math.max(0, x + 14), wide - tip.offsetWidth - 4);
      tip.style.left = `${Math.max(0, left)}px`;
      tip.style.top = `${y + 20 + tip.offsetHeight > high ? y - tip.offsetHeight - 10 : y + 18}px`;
    }
    later();
  }
  const told = (row) => named(row) + (data.values ? ` · ${data.labelName}: ${data.values[row] ?? "none"}` : "");

  const pointers = new Map();
  let moved = 0;
  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) { hover(x, y); return; }
    if (pointers.size === 1) {
      moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
      if (moved > 4) {
        canvas.classList.add("held");
        view.x -= (x - before[0]) / view.scale;
        view.y -= (y - before[1]) / view.scale;
        bounded();
        hover(null);
      }
    } else {
      const other = [...pointers].find(([key]) => key !== event.pointerId)[1];
      const was = Math.hypot(before[0] - other[0], before[1] - other[1]), is = Math.hypot(x - other[0], y - other[1]);
      moved = 9;
      if (was > 0) zoomAt((x + other[0]) / 2, (y + other[1]) / 2, is / was);
    }
    if (moved > 4 || pointers.size > 1) pointers.set(event.pointerId, [x, y]);
  });
  const release = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    canvas.classList.remove("held");
    if (event.type === "pointerup" && moved <= 4 && !pointers.size) {
      const row = near(...at(event), 14);
      if (row >= 0) choose(row, false);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(...at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoomAt(...at(event), 2));
  canvas.addEventListener("keydown", (event) => {
    const step = 60 / view.scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) { view.x += moves[event.key][0]; view.y += moves[event.key][1]; bounded(); later(); }
    else if (event.key === "+" || event.key === "=") zoomAt(wide / 2, high / 2, 1.4);
    else if (event.key === "-") zoomAt(wide / 2, high / 2, 1 / 1.4);
    else if (event.key === "0") fit(null);
    else return;
    event.preventDefault();
  });

  // The list beside the map: groups, or the documents of one group, or those that were found.
  function item(text, note, color, act) {
    const line = document.createElement("li"), button = document.createElement("button"), words = document.createElement("span");
    button.type = "button";
    if (color) { const dot = document.createElement("i"); dot.style.background = color; button.append(dot); }
    words.textContent = text;
    button.append(words);
    if (note) button.append(Object.assign(document.createElement("small"), { textContent: note }));
    button.addEventListener("click", () => act(button));
    line.append(button);
    return line;
  }
  const heading = (text) => Object.assign(document.createElement("h2"), { textContent: text });
  const number = (value) => value.toLocaleString("en");
  const plural = (value) => `${number(value)} document${value === 1 ? "" : "s"}`;

  function groups() {
    shown = null;
    const lines = document.createElement("ul");
    for (const cluster of data.clusterNames) {
      const color = data.labelName ? "" : data.themes[theme].colors[cluster.shade];
      lines.append(item(cluster.label, number(cluster.count), color, () => group(cluster)));
    }
    list.replaceChildren(heading(`${number(data.clusterNames.length)} groups`), lines);
    later();
  }
  function group(cluster) {
    const rows = [];
    for (let row = 0; row < count; row++) if (clusters[row] === cluster.number) rows.push(row);
    find.value = "";
    documents(cluster.label, rows, cluster.words.length ? `Words: ${cluster.words.join(", ")}` : "");
    fit(rows);
    list.querySelector("button").focus({ preventScroll: true });
  }
  function documents(name, rows, remark) {
    shown = new Uint8Array(count);
    for (const row of rows) shown[row] = 1;
    const lines = document.createElement("ul");
    let from = 0;
    const more = () => {
      for (const row of rows.slice(from, from + 100)) {
        const one = item(title(row), "", "", () => choose(row, true));
        one.firstChild.dataset.row = row;
        lines.append(one);
      }
      from += 100;
      if (from < rows.length) {
        lines.append(item(`Show more (${number(rows.length - from)} left)`, "", "", (button) => {
          button.parentNode.remove(); more(); lines.children[from - 100].firstChild.focus();
        }));
      }
    };
    more();
    const back = Object.assign(document.createElement("button"), { type: "button", textContent: "← All groups" });
    back.addEventListener("click", () => { find.value = ""; groups(); fit(null); list.querySelector("button").focus(); });
    const parts = [back, heading(`${name}: ${plural(rows.length)}`)];
    if (remark) parts.push(Object.assign(document.createElement("p"), { className: "muted", textContent: remark }));
    list.replaceChildren(...parts, lines);
    list.scrollTop = 0;
    said.textContent = `${name}: ${plural(rows.length)}`;
    later();
  }
  function choose(row, center) {
    focus = row;
    said.textContent = `${title(row)}, ${told(row)}`;
    if (center) {
      view.x = px[row]; view.y = py[row];
      if (view.scale < whole * 4) view.scale = whole * 4;
      bounded();
    } else if (!list.querySelector(`[data-row="${row}"]`)) {
      const cluster = clusters[row] === 65535 ? null : data.clusterNames[clusters[row]];
      const rows = [row];
      if (cluster) for (let other = 0; other < count; other++) if (other !== row && clusters[other] === cluster.number) rows.push(other);
      documents(cluster ? cluster.label : "In no group", rows, cluster ? "The chosen one stands first." : "");
    }
    for (const old of list.querySelectorAll("[aria-current]")) old.removeAttribute("aria-current");
    const line = list.querySelector(`[data-row="${row}"]`);
    if (line) { line.setAttribute("aria-current", "true"); line.scrollIntoView({ block: "nearest" }); }
    later();
  }
  let typed = 0;
  find.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (!words.length) { groups(); said.textContent = ""; return; }
      const rows = [];
      for (let row = 0; row < count; row++) {
        const text = title(row).toLowerCase();
        if (words.every((word) => text.includes(word))) rows.push(row);
      }
      documents(`“${find.value.trim()}”`, rows, rows.length ? "" : "No title has all of these words.");
    }, 120);
  });

  function legend() {
    const box = document.getElementById("legend");
    const look = data.themes[theme];
    box.replaceChildren();
    if (!data.labelName) return;
    const line = (text) => { const one = document.createElement("li"); one.append(text); box.append(one); return one; };
    line(Object.assign(document.createElement("strong"), { textContent: data.labelName }));
    if (data.range) {
      const bar = document.createElement("li");
      const ramp = Object.assign(document.createElement("span"), { className: "ramp" });
      ramp.style.background = `linear-gradient(to right, ${look.colors.slice(0, data.none).join(",")})`;
      const ends = Object.assign(document.createElement("span"), { className: "ends" });
      for (const end of data.range) ends.append(Object.assign(document.createElement("span"), { textContent: end }));
      bar.append(ramp, ends);
      box.append(bar);
    }
    for (const [text, shade, size] of data.legend) {
      const dot = document.createElement("i");
      dot.style.background = look.colors[shade];
      line("").append(dot, `${text} (${number(size)})`);
    }
  }
  function paint() {
    document.documentElement.dataset.theme = theme;
    legend();
    if (!shown) groups();
    later();
  }
  document.getElementById("theme").addEventListener("click", () => { theme = theme === "dark" ? "light" : "dark"; paint(); });
  document.getElementById("in").addEventListener("click", () => zoomAt(wide / 2, high / 2, 1.6));
  document.getElementById("out").addEventListener("click", () => zoomAt(wide / 2, high / 2, 1 / 1.6));
  document.getElementById("all").addEventListener("click", () => fit(null));
  new ResizeObserver(resize).observe(canvas);
  resize();
  fit(null);
  paint();
})();
