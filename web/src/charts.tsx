// Small charts as SVG: lines and bars on one pair of axes.

import { short } from "./format";

const WIDTH = 320;
const HEIGHT = 170;
const LEFT = 44;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 36;

export interface Scale {
  (value: number): number;
  ticks: number[];
}

export function linearTicks(low: number, high: number, about = 4): number[] {
  const span = high - low || 1;
  const rough = span / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const ticks: number[] = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * span; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return ticks;
}

export function logTicks(low: number, high: number, most = 5): number[] {
  const ticks: number[] = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power++) ticks.push(10 ** power);
  const every = Math.ceil(ticks.length / most);
  return ticks.filter((_, place) => place % every === 0);
}

export function scaleOf([low, high]: [number, number], [from, to]: [number, number], log: boolean, ticks?: number[]): Scale {
  const measure = (value: number) => (log ? Math.log(Math.max(value, Number.MIN_VALUE)) : value);
  const span = measure(high) - measure(low) || 1;
  const scale = (value: number) => from + ((measure(value) - measure(low)) / span) * (to - from);
  return Object.assign(scale, { ticks: ticks ?? (log ? logTicks(low, high) : linearTicks(low, high)) });
}

export interface Shape {
  kind: "line" | "bars" | "stems";
  x: number[]; // of bars: the edges, one more than heights
  y: number[];
  second?: boolean;
  name?: string;
  dots?: boolean;
}

export function Chart({ title, about, x, y, shapes, logX = false, logY = false }: {
  title: string;
  about: string;
  x: string;
  y: string;
  shapes: Shape[];
  logX?: boolean;
  logY?: boolean;
}) {
  const xs = shapes.flatMap((shape) => shape.x);
  const ys = shapes.flatMap((shape) => shape.y).filter((value) => !logY || value > 0);
  if (!xs.length || !ys.length) return null;
  const top = Math.max(...ys);
  const floor = logY ? Math.max(Math.min(...ys) * 0.5, 1e-9) : Math.min(0, ...ys);
  const across = scaleOf([Math.min(...xs), Math.max(...xs)], [LEFT, WIDTH - RIGHT], logX);
  const up = scaleOf([floor, logY ? top * 1.5 : top * 1.06 || 1], [HEIGHT - BOTTOM, TOP], logY);
  const ground = HEIGHT - BOTTOM;
  const path = (shape: Shape) => {
    if (shape.kind === "line") return shape.x.map((value, i) => `${i ? "L" : "M"}${across(value).toFixed(1)} ${up(Math.max(shape.y[i]!, floor)).toFixed(1)}`).join("");
    if (shape.kind === "stems") return shape.x.map((value, i) => `M${across(value).toFixed(1)} ${ground}V${up(Math.max(shape.y[i]!, floor)).toFixed(1)}`).join("");
    return shape.y.map((value, i) => `M${across(shape.x[i]!).toFixed(1)} ${ground}V${up(value).toFixed(1)}H${across(shape.x[i + 1]!).toFixed(1)}V${ground}Z`).join("");
  };
  return (
    <figure class="chart">
      <figcaption><strong>{title}</strong><span>{about}</span></figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title}: ${y} against ${x}, from ${short(Math.min(...ys))} to ${short(top)}`}>
        <g class="axis">
          {up.ticks.map((tick) => <g key={tick}><line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={up(tick)} y2={up(tick)} /><text x={LEFT - 6} y={up(tick) + 3.5} text-anchor="end">{short(tick)}</text></g>)}
          {across.ticks.map((tick) => <text key={tick} x={across(tick)} y={ground + 14} text-anchor="middle">{short(tick)}</text>)}
          <line x1={LEFT} x2={WIDTH - RIGHT} y1={ground} y2={ground} />
          <text class="label" x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 5} text-anchor="middle">{x}</text>
        </g>
        {shapes.map((shape) => <path key={shape.name ?? shape.kind} class={`${shape.kind}${shape.second ? " second" : ""}`} d={path(shape)} />)}
        {shapes.filter((shape) => shape.dots).map((shape) => shape.x.map((value, i) => <circle key={value} class="dot" cx={across(value)} cy={up(shape.y[i]!)} r={3} />))}
      </svg>
      {shapes.some((shape) => shape.name) && <p class="chart-key">{shapes.map((shape) => <span key={shape.name} class={shape.second ? "second" : ""}>{shape.name}</span>)}</p>}
    </figure>
  );
}
