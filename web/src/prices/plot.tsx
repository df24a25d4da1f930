// Bytes against recall, the front, and the budget: a line to drag, or to move with the keys.

import { useEffect, useRef, useState } from "preact/hooks";
import { linearTicks, scaleOf } from "../charts";
import { count } from "../format";
import { clusterColour, css } from "../map/colours";
import { useTheme } from "../theme";
import type { PriceRow } from "../types";
import { frontOf, nameOf, type Counted } from "./choosing";

const LEFT = 46;
const RIGHT = 16;
const TOP = 30;
const BOTTOM = 46;

function useWidth(): [(element: HTMLElement | null) => void, number] {
  const [width, setWidth] = useState(640);
  const watch = useRef<ResizeObserver | null>(null);
  const attach = useRef((element: HTMLElement | null) => {
    watch.current?.disconnect();
    if (!element) return;
    watch.current = new ResizeObserver(() => setWidth(Math.max(element.clientWidth, 260)));
    watch.current.observe(element);
  });
  useEffect(() => () => watch.current?.disconnect(), []);
  return [attach.current, width];
}

function powersOfTwo(low: number, high: number, most: number): number[] {
  const from = Math.ceil(Math.log2(low) - 1e-9);
  const to = Math.floor(Math.log2(high) + 1e-9);
  const every = Math.max(1, Math.ceil((to - from + 1) / most));
  return Array.from({ length: Math.floor((to - from) / every) + 1 }, (_, i) => 2 ** (from + i * every));
}

// Beside its point on the side that has room; nowhere when neither has.
function placeFor(name: string, x: number, width: number): { anchor: "start" | "end"; x: number } | null {
  const length = 7.4 * name.length + 14;
  if (x + length < width - RIGHT) return { anchor: "start", x: x + 12 };
  return x - length > LEFT ? { anchor: "end", x: x - 12 } : null;
}

interface Props {
  rows: PriceRow[];
  names: string[];
  counted: Counted;
  budget: number;
  best: PriceRow | null;
  valueText: string;
  onBudget: (bytes: number) => void;
}

export function PricePlot({ rows, names, counted, budget, best, valueText, onBudget }: Props) {
  const theme = useTheme();
  const [attach, width] = useWidth();
  const [hovered, setHovered] = useState<PriceRow | null>(null);
  const svg = useRef<SVGSVGElement>(null);
  const dragging = useRef(false);
  const height = width < 480 ? 320 : 400;
  const sizes = [...new Set(rows.map((row) => row[counted]))].sort((a, b) => a - b);
  const [smallest, largest] = [sizes[0]! / 1.35, sizes.at(-1)! * 1.35];
  const front = frontOf(rows, counted);
  const floor = Math.max(0, Math.floor(Math.min(...front.map((row) => row.recall_10[1])) * 10 - 1) / 10);
  const shown = rows.filter((row) => row.recall_10[0] >= floor);
  const x = scaleOf([smallest, largest], [LEFT, width - RIGHT], true, powersOfTwo(smallest, largest, width < 480 ? 5 : 10));
  const y = scaleOf([floor, 1], [height - BOTTOM, TOP], false, linearTicks(floor, 1, 5));
  const colourOf = (row: PriceRow) => css(clusterColour(names.indexOf(row.name), theme));
  const line = front.map((row, place) => {
    const at = `${x(row[counted]).toFixed(1)} ${y(row.recall_10[0]).toFixed(1)}`;
    return place ? `H${x(row[counted]).toFixed(1)}V${y(row.recall_10[0]).toFixed(1)}` : `M${at}`;
  }).join("");

  const bounded = (value: number) => Math.min(Math.max(value, smallest), largest);
  const atPointer = (event: PointerEvent) => {
    const box = svg.current!.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (width - LEFT - RIGHT);
    onBudget(bounded(smallest * (largest / smallest) ** share));
  };
  const onKey = (event: KeyboardEvent) => {
    const next = sizes.find((size) => size > budget * 1.0001) ?? largest;
    const previous = sizes.findLast((size) => size < budget * 0.9999) ?? smallest;
    const moves: Record<string, number> = {
      ArrowRight: next, ArrowUp: next, ArrowLeft: previous, ArrowDown: previous,
      PageUp: budget * 2, PageDown: budget / 2, Home: smallest, End: largest,
    };
    const target = moves[event.key];
    if (target === undefined) return;
    event.preventDefault();
    onBudget(bounded(target));
  };
  const budgetX = x(bounded(budget));
  const told = hovered ?? best;
  const toldAt = told ? placeFor(nameOf(told), x(told[counted]), width) : null;

  return (
    <div class="price-plot" ref={attach}>
      <svg ref={svg} width={width} height={height} aria-label="Bytes a document against recall at 10" role="group"
        onPointerDown={(event) => { dragging.current = true; event.currentTarget.setPointerCapture(event.pointerId); atPointer(event); }}
        onPointerMove={(event) => dragging.current && atPointer(event)}
        onPointerUp={() => { dragging.current = false; }} onPointerCancel={() => { dragging.current = false; }}>
        <rect class="within" x={LEFT} y={TOP} width={Math.max(budgetX - LEFT, 0)} height={height - TOP - BOTTOM} />
        <g class="axis" aria-hidden="true">
          {y.ticks.map((tick) => <g key={tick}><line class="grid" x1={LEFT} x2={width - RIGHT} y1={y(tick)} y2={y(tick)} /><text x={LEFT - 8} y={y(tick) + 4} text-anchor="end">{tick.toFixed(2)}</text></g>)}
          {x.ticks.map((tick) => <text key={tick} x={x(tick)} y={height - BOTTOM + 17} text-anchor="middle">{count(tick)}</text>)}
          <line x1={LEFT} x2={width - RIGHT} y1={height - BOTTOM} y2={height - BOTTOM} />
          <text class="label" x={(LEFT + width - RIGHT) / 2} y={height - 8} text-anchor="middle">bytes a document ({counted === "bytes" ? "scanned by a search" : "kept in all"})</text>
          <text class="label" x={4} y={TOP - 14}>recall@10</text>
        </g>
        <path class="front" d={line} aria-hidden="true" />
        <g aria-hidden="true">
          {shown.map((row) => {
            const onFront = front.includes(row);
            const within = row[counted] <= budget * (1 + 1e-9);
            return (
              <g key={nameOf(row)} class={`price${within ? "" : " beyond"}${row === best ? " best" : ""}`}
                onMouseEnter={() => setHovered(row)} onMouseLeave={() => setHovered(null)}>
                <line class="whisker" x1={x(row[counted])} x2={x(row[counted])} y1={y(Math.min(row.recall_10[2], 1))} y2={y(Math.max(row.recall_10[1], floor))} stroke={colourOf(row)} />
                <circle cx={x(row[counted])} cy={y(row.recall_10[0])} r={row === best ? 7 : onFront ? 5.5 : 4} class={onFront ? "" : "hollow"} fill={onFront ? colourOf(row) : "none"} stroke={colourOf(row)} />
              </g>
            );
          })}
        </g>
        {told && toldAt && <text class="told" aria-hidden="true" text-anchor={toldAt.anchor} x={toldAt.x} y={Math.min(y(Math.max(told.recall_10[0], floor)) + 20, height - BOTTOM - 8)}>{nameOf(told)}</text>}
        {shown.length < rows.length && <text class="below" aria-hidden="true" x={width - RIGHT - 4} y={height - BOTTOM - 8} text-anchor="end">{rows.length - shown.length} below {floor.toFixed(1)}: see the table</text>}
        <g class="budget" role="slider" tabindex={0} aria-label="Budget" aria-orientation="horizontal" aria-valuemin={Math.round(smallest)} aria-valuemax={Math.round(largest)}
          aria-valuenow={Math.round(bounded(budget))} aria-valuetext={valueText} onKeyDown={onKey}>
          <line x1={budgetX} x2={budgetX} y1={TOP - 6} y2={height - BOTTOM} />
          <rect class="reach" x={budgetX - 14} y={TOP - 24} width={28} height={height - TOP - BOTTOM + 24} />
          <rect class="handle" x={budgetX - 7} y={TOP - 22} width={14} height={22} rx={5} />
          <path class="grip" d={`M${budgetX - 2} ${TOP - 15}v8M${budgetX + 2} ${TOP - 15}v8`} />
        </g>
      </svg>
    </div>
  );
}
