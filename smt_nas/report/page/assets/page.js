"use strict";
// What moves on the page: plots in its colours, tables that sort and filter, and the chosen network.
// Without scripts all tables, drawings and commands are there too.
(() => {
  const styles = () => getComputedStyle(document.documentElement);
  const colour = (name) => styles().getPropertyValue(name).trim();

  // ---- plots -----------------------------------------------------------------------------------

  /** Plain values with the page's colours in place of `var(--name)`. */
  const inColours = (value) => {
    if (typeof value === "string") {
      return value.startsWith("var(") ? colour(value.slice(4, -1)) : value;
    }
    if (Array.isArray(value)) return value.map(inColours);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, inColours(v)]));
    }
    return value;
  };

  const layoutInColours = (layout) => {
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
    const out = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height: 440,
      font: { color: colour("--ink"), family: "system-ui, sans-serif" },
      margin: { l: 60, r: 10, t: 30, b: 50 },
      legend: { orientation: "h", y: -0.2 },
      hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") }, align: "left" },
      ...inColours(layout),
    };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(out).filter((k) => /^[xy]axis/.test(k))])) {
      out[name] = { ...axis, ...out[name] };
    }
    return out;
  };

  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

  const draw = (place, traces, layout) =>
    Plotly.react(place, inColours(traces), layoutInColours(layout), options);

  const drawAll = () => {
    if (!window.Plotly) return;
    for (const figure of document.querySelectorAll("figure.plot:has(> script)")) {
      const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
      draw(figure.querySelector("div"), data, layout);
    }
    front?.draw();
  };

  // ---- tables ----------------------------------------------------------------------------------

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent.trim();
  };

  /** -1, 0 or 1; what is not known comes last, whatever the direction. */
  const compare = (a, b, sign) => {
    const numbers = [typeof a === "number", typeof b === "number"];
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    if (numbers[0]) return sign * (a - b);
    return sign * a.localeCompare(b, undefined, { numeric: true });
  };

  const sortTable = (table, column) => {
    const heading = table.tHead.rows[0].cells[column];
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), up ? 1 : -1));
    table.tBodies[0].append(...rows);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      heading.querySelector("button")?.addEventListener("click", () => sortTable(table, column));
    });
  }

  /** `macs<2 top-1>81 smt`: words that a row must have, and bounds on columns by their headings. */
  const parseFilter = (text, headings) => text.trim().split(/\s+/).filter(Boolean).map((word) => {
    const [, name, sign, bound] = word.match(/^(.+?)(<=|>=|<|>|=)(-?[\d.]+)$/) ?? [];
    const column = name === undefined ? -1 : headings.findIndex((h) => h.toLowerCase().includes(name.toLowerCase()));
    if (column < 0) return (row) => row.textContent.toLowerCase().includes(word.toLowerCase());
    const test = {
      "<": (v) => v < bound, ">": (v) => v > bound, "<=": (v) => v <= bound, ">=": (v) => v >= bound, "=": (v) => v === Number(bound),
    }[sign];
    return (row) => { const v = parseFloat(row.cells[column].textContent); return !Number.isNaN(v) && test(v); };
  });

  for (const input of document.querySelectorAll("input[data-filters]")) {
    const table = document.querySelector(`#${input.dataset.filters} table`);
    const shown = input.closest(".controls").querySelector("output");
    const headings = [...table.tHead.rows[0].cells].map((h) => (h.querySelector("button") ?? h).textContent);
    input.addEventListener("input", () => {
      const tests = parseFilter(input.value, headings);
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) row.hidden = !tests.every((test) => test(row));
      const left = rows.filter((row) => !row.hidden).length;
      shown.textContent = tests.length ? `${left} of ${rows.length} rows` : "";
    });
  }

  // ---- commands --------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    if (!event.target.matches("button.copy")) return;
    const code = event.target.parentElement.querySelector("code");
    const done = () => { event.target.textContent = "Copied"; setTimeout(() => { event.target.textContent = "Copy"; }, 1500); };
    const select = () => getSelection().selectAllChildren(code); // where a browser gives no clipboard
    if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select); else select();
  });

  // ---- the front: its plot, and the network that is looked at ------------------------------------

  const makeFront = () => {
    const source = document.getElementById("front-data");
    if (!source) return null;
    const { columns, groups, chosen: first } = JSON.parse(source.textContent);
    const place = document.getElementById("front-plot");
    const axes = { x: document.getElementById("front-x"), y: document.getElementById("front-y") };
    let chosen = first;

    const read = (point, column) => {
      const value = point.values[column.name];
      return value === undefined ? null : value / column.per;
    };
    const show = (point, column) => {
      const value = read(point, column);
      if (value === null) return "";
      const ends = point.intervals?.[column.name];
      const around = ends ? ` [${ends.map((e) => (e / column.per).toFixed(column.digits)).join(", ")}]` : "";
      return `<br>${column.heading}: ${value.toFixed(column.digits)}${around} (${column.provenance})`;
    };
    const hover = (point) => `<b>${point.title}</b><br>${point.network.replaceAll(" | ", "<br>")}${columns.map((c) => show(point, c)).join("")}`;

    const trace = (group, x, y) => {
      const points = group.points.filter((p) => read(p, x) !== null && read(p, y) !== null);
      const isChosen = (p) => p.name === chosen && group.kind !== "tried";
      return {
        type: "scatter", mode: group.kind === "preset" ? "markers+text" : "markers", name: group.title,
        x: points.map((p) => read(p, x)), y: points.map((p) => read(p, y)),
        text: points.map((p) => (group.kind === "preset" ? p.name : "")), textposition: "top center",
        customdata: points.map((p) => p.name), hovertext: points.map(hover),
        hovertemplate: group.kind === "tried" ? "%{hovertext}<extra>tried</extra>" : "%{hovertext}<extra></extra>",
        marker: {
          size: points.map((p) => (isChosen(p) ? 15 : group.kind === "tried" ? 5 : 9)),
          symbol: group.kind === "preset" ? "diamond" : group.kind === "tried" ? "circle-open" : "circle",
          color: points.map((p) => (isChosen(p) ? "var(--chosen)" : `var(--${group.kind})`)),
        },
      };
    };
    const axis = (column) => ({ title: { text: `${column.heading} (${column.provenance})` }, type: column.log ? "log" : "linear", ...(column.log ? { dtick: "D2" } : {}) });

    const redraw = () => {
      if (!window.Plotly || !place) return;
      const [x, y] = [axes.x, axes.y].map((select) => columns.find((c) => c.name === select.value));
      const traces = groups.map((group) => trace(group, x, y));
      draw(place, traces, { xaxis: axis(x), yaxis: axis(y), uirevision: `${x.name} ${y.name}`, height: 520 });
    };

    const choose = (name) => {
      if (!document.getElementById(`network-${name}`)) return;
      chosen = name;
      for (const view of document.querySelectorAll("article.network")) view.hidden = view.id !== `network-${name}`;
      for (const row of document.querySelectorAll("tr[data-name]")) row.classList.toggle("chosen", row.dataset.name === name);
      const picker = document.getElementById("network-choice");
      if (picker) picker.value = name;
      redraw();
    };

    for (const select of Object.values(axes)) select?.addEventListener("change", redraw);
    document.getElementById("network-choice")?.addEventListener("change", (event) => choose(event.target.value));
    document.addEventListener("click", (event) => {
      if (!event.target.matches("button.pick")) return;
      choose(event.target.closest("tr").dataset.name);
      document.getElementById("networks")?.scrollIntoView({ block: "start" });
    });
    const listen = () => place?.on?.("plotly_click", (event) => {
      if (event.points[0].fullData.name !== "tried") choose(event.points[0].customdata);
    });
    return { draw: redraw, choose: () => choose(chosen), listen };
  };

  const front = makeFront();
  drawAll();
  front?.choose();
  front?.listen();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
