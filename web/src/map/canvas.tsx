// The canvas with its labels: drag to move, wheel or pinch to zoom, point to see, click to open; keys do the same.

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api";
import { useTheme, type Theme } from "../theme";
import type { MapPoint } from "../types";
import { Button, Notice } from "../ui";
import { clusterColour, css, noClusterColour } from "./colours";
import { boxOf, type MapData } from "./data";
import { Look, PointPainter } from "./points";
import { MapView, type Box } from "./view";

const CLICK_PX = 5;
const REACH_PX = 12;
const HOVER_MS = 70;
const LABELS = 40;
const SLOW_MS = 40;
const QUICK_MS = 20;
const PAUSE_MS = 1000;
const REST_MS = 160;
const FEWEST = 6000;

export function looksOf(data: MapData, lit: Set<number> | null, slot: number | null, chosen: number | null): Uint8Array {
  const looks = new Uint8Array(data.slots.length);
  if (lit || slot !== null) looks.fill(Look.faded);
  if (slot !== null) data.slots.forEach((known, index) => { if (known === slot) looks[index] = Look.plain; });
  lit?.forEach((index) => { if (index < looks.length) looks[index] = Look.lit; });
  if (chosen !== null && chosen < looks.length) looks[chosen] = Look.chosen;
  return looks;
}

interface Props {
  data: MapData;
  lit: Set<number> | null;
  slot: number | null; // the cluster to bring out
  zoomTo: number | null; // the cluster to go to
  chosen: number | null;
  onOpen: (id: string) => void;
}

class Scene {
  readonly view: MapView;
  readonly painter: PointPainter;
  private frame = 0;
  private flight = 0;
  private rest = 0;
  private lastDrawn = 0;
  private most: number; // points that a moving map shows; fewer where all would make it jerk

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly labels: HTMLElement,
    readonly data: MapData,
  ) {
    this.painter = new PointPainter(canvas, data.places, data.slots);
    this.view = new MapView(data.box);
    this.most = data.slots.length;
  }

  setTheme(theme: Theme): void {
    const palette = this.data.clusters.map((_, slot) => clusterColour(slot, theme));
    this.painter.setColours([...palette, noClusterColour(theme)], theme === "dark" ? [255, 255, 255] : [20, 22, 26]);
    this.redraw();
  }

  redraw(): void {
    if (!this.frame) this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      this.draw(this.most);
      const took = now - this.lastDrawn;
      this.adapt(took);
      this.lastDrawn = now;
      clearTimeout(this.rest);
      if (this.most < this.data.slots.length) {
        const wait = Math.max(REST_MS, took < PAUSE_MS ? 3 * took : 0); // not in the middle of a slow movement
        this.rest = window.setTimeout(() => this.draw(Infinity), wait);
      }
    });
  }

  private draw(most: number): void {
    this.painter.draw(this.view, Math.min(window.devicePixelRatio || 1, 2), most);
    this.placeLabels();
  }

  // A frame that took long halves what the next ones draw, as long as the map moves; quick ones bring it back.
  private adapt(took: number): void {
    if (took > PAUSE_MS) return; // the map stood still
    if (took > SLOW_MS) this.most = Math.max(Math.floor(this.most / 2), FEWEST);
    else if (took < QUICK_MS) this.most = Math.min(Math.ceil(this.most * 1.1), this.data.slots.length);
  }

  fly(box: Box): void {
    cancelAnimationFrame(this.flight);
    const { view } = this;
    const from = [view.centreX, view.centreY, Math.log(view.scale)] as const;
    view.show(box);
    const to = [view.centreX, view.centreY, Math.log(view.scale)] as const;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.redraw();
    const start = performance.now();
    const step = (now: number) => {
      const share = Math.min(Math.max((now - start) / 350, 0), 1);
      const eased = 1 - (1 - share) ** 3;
      const at = (place: 0 | 1 | 2) => from[place] + (to[place] - from[place]) * eased;
      [view.centreX, view.centreY, view.scale] = [at(0), at(1), Math.exp(at(2))];
      this.redraw();
      if (share < 1) this.flight = requestAnimationFrame(step);
    };
    this.flight = requestAnimationFrame(step);
  }

  // Labels of large clusters first; one that would cover another is left out until there is room for it.
  private placeLabels(): void {
    const taken: [left: number, top: number, right: number, bottom: number][] = [];
    for (const [place, element] of [...this.labels.children].entries()) {
      if (!(element instanceof HTMLElement)) continue;
      const cluster = this.data.clusters[place]!;
      const [x, y] = this.view.toScreen(cluster.x, cluster.y);
      const [half, tall] = [Number(element.dataset.width) / 2 || (element.dataset.width = String(element.offsetWidth), element.offsetWidth / 2), 11];
      const box = [x - half - 4, y - tall, x + half + 4, y + tall] as [number, number, number, number];
      const outside = box[0] < 0 || box[1] < 0 || box[2] > this.view.width || box[3] > this.view.height;
      const covers = taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]);
      element.style.visibility = outside || covers ? "hidden" : "visible";
      if (outside || covers) continue;
      element.style.transform = `translate(${Math.round(x - half)}px, ${Math.round(y - tall)}px)`;
      taken.push(box);
    }
  }

  pointAt(left: number, top: number, accepts: (index: number) => boolean): number {
    const [x, y] = this.view.toMap(left, top);
    return this.data.grid.nearest(x, y, REACH_PX / this.view.scale, accepts);
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    cancelAnimationFrame(this.flight);
    clearTimeout(this.rest);
    this.painter.dispose();
    this.canvas.width = this.canvas.height = 1;
  }
}

interface Hover {
  point: MapPoint;
  left: number;
  top: number;
}

export function MapCanvas({ data, lit, slot, zoomTo, chosen, onOpen }: Props) {
  const theme = useTheme();
  const canvas = useRef<HTMLCanvasElement>(null);
  const labels = useRef<HTMLDivElement>(null);
  const scene = useRef<Scene | null>(null);
  const looks = useRef<Uint8Array>(new Uint8Array(0));
  const opened = useRef(onOpen);
  opened.current = onOpen;
  const [failed, setFailed] = useState(false);
  const [attempt, setAttempt] = useState(0);
  const [hover, setHover] = useState<Hover | null>(null);

  useEffect(() => {
    const element = canvas.current!;
    let made: Scene;
    try {
      made = new Scene(element, labels.current!, data);
    } catch {
      setFailed(true);
      return;
    }
    scene.current = made;
    const watch = new ResizeObserver(() => {
      made.view.resize(element.clientWidth, element.clientHeight);
      made.redraw();
    });
    watch.observe(element);
    const stop = listen(element, made, {
      hover: setHover,
      open: (id) => opened.current(id),
      accepts: (index) => looks.current[index] !== Look.faded,
    });
    const lost = (event: Event) => event.preventDefault();
    const restored = () => setAttempt((n) => n + 1);
    element.addEventListener("webglcontextlost", lost);
    element.addEventListener("webglcontextrestored", restored);
    return () => {
      watch.disconnect();
      stop();
      element.removeEventListener("webglcontextlost", lost);
      element.removeEventListener("webglcontextrestored", restored);
      made.dispose();
      scene.current = null;
    };
  }, [data, attempt]);

  useEffect(() => scene.current?.setTheme(theme), [theme, data, attempt]);

  useEffect(() => {
    looks.current = looksOf(data, lit, slot, chosen);
    scene.current?.painter.setLooks(looks.current);
    scene.current?.redraw();
  }, [data, lit, slot, chosen, attempt]);

  useEffect(() => {
    if (zoomTo === null || !scene.current) return;
    const box = boxOf(data.places, (index) => data.slots[index] === zoomTo);
    if (box) scene.current.fly(box);
  }, [data, zoomTo, attempt]);

  if (failed) return <Notice title="The map cannot be drawn"><p>This browser has no WebGL 2. The list of clusters shows the same index.</p></Notice>;
  const zoom = (factor: number) => { scene.current?.view.zoomBy(factor); scene.current?.redraw(); };
  return (
    <div class="map-frame" data-attempt={attempt}>
      <canvas key={`${data.info.count}`} ref={canvas} tabIndex={0} role="img" class="map-canvas"
        aria-label={`Map of ${data.places.length / 2} documents in ${data.clusters.length} clusters. The list of clusters tells the same.`} />
      <div ref={labels} class="map-labels" aria-hidden="true">
        {data.clusters.slice(0, LABELS).map((cluster, place) => (
          <span key={cluster.number} class={slot !== null && slot !== place ? "dim" : ""}>{cluster.label}</span>
        ))}
      </div>
      <div class="map-tools">
        <Button kind="quiet" icon="plus" label="Zoom in" onClick={() => zoom(1.6)} />
        <Button kind="quiet" icon="minus" label="Zoom out" onClick={() => zoom(1 / 1.6)} />
        <Button kind="quiet" icon="home" label="Show all" onClick={() => scene.current?.fly(data.box)} />
      </div>
      {hover && <Tooltip hover={hover} data={data} theme={theme} width={canvas.current?.clientWidth ?? 0} height={canvas.current?.clientHeight ?? 0} />}
    </div>
  );
}

function Tooltip({ hover, data, theme, width, height }: { hover: Hover; data: MapData; theme: Theme; width: number; height: number }) {
  const slot = data.slots[hover.point.index] ?? data.clusters.length;
  const cluster = data.clusters[slot];
  const onLeft = hover.left > width - 290;
  const above = hover.top > height - 150;
  const place = {
    left: onLeft ? "auto" : `${hover.left + 14}px`,
    right: onLeft ? `${Math.max(width - hover.left + 14, 0)}px` : "auto",
    top: above ? "auto" : `${hover.top + 14}px`,
    bottom: above ? `${Math.max(height - hover.top + 14, 0)}px` : "auto",
  };
  return (
    <div class="tooltip" style={place} data-tooltip>
      <strong class="breakable">{hover.point.title || hover.point.id}</strong>
      {hover.point.snippet && <p class="breakable">{hover.point.snippet}</p>}
      {cluster && <p class="muted"><span class="swatch" style={{ backgroundColor: css(clusterColour(slot, theme)) }} />{cluster.label}</p>}
    </div>
  );
}

interface Reactions {
  hover: (hover: Hover | null) => void;
  open: (id: string) => void;
  accepts: (index: number) => boolean;
}

const known = new Map<string, MapPoint>(); // what hovering has asked for already

async function pointOf(data: MapData, index: number): Promise<MapPoint> {
  const key = `${data.info.method} ${data.info.count} ${index} ${data.places[2 * index]}`;
  const point = known.get(key) ?? (await get<MapPoint>("api/map/point", { index }));
  if (known.size > 500) known.clear();
  known.set(key, point);
  return point;
}

function listen(canvas: HTMLCanvasElement, scene: Scene, react: Reactions): () => void {
  const fingers = new Map<number, [left: number, top: number]>();
  let moved = 0;
  let hovering = 0;
  let shown = -1;
  const at = (event: PointerEvent | WheelEvent | MouseEvent): [number, number] => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const hide = () => {
    clearTimeout(hovering);
    if (shown >= 0) react.hover(null);
    shown = -1;
    canvas.style.cursor = "";
  };
  const point = (left: number, top: number) => {
    const index = scene.pointAt(left, top, react.accepts);
    if (index === shown) return;
    hide();
    if (index < 0) return;
    shown = index;
    canvas.style.cursor = "pointer";
    hovering = window.setTimeout(() => {
      pointOf(scene.data, index).then((found) => { if (shown === index) react.hover({ point: found, left, top }); }, () => undefined);
    }, HOVER_MS);
  };
  const handlers: [string, (event: never) => void][] = [
    ["pointerdown", (event: PointerEvent) => {
      fingers.set(event.pointerId, at(event));
      if (fingers.size === 1) moved = 0;
      canvas.setPointerCapture(event.pointerId);
    }],
    ["pointermove", (event: PointerEvent) => {
      const now = at(event);
      const before = fingers.get(event.pointerId);
      if (!before) return event.pointerType === "mouse" ? point(...now) : undefined;
      const step = [now[0] - before[0], now[1] - before[1]] as const;
      if (fingers.size === 2) {
        const other = [...fingers].find(([id]) => id !== event.pointerId)![1];
        const apart = (place: [number, number]) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
        scene.view.zoomBy(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
        scene.view.pan(step[0] / 2, step[1] / 2);
      } else scene.view.pan(...step);
      fingers.set(event.pointerId, now);
      moved += Math.hypot(...step) + (fingers.size > 1 ? CLICK_PX : 0);
      if (moved > CLICK_PX) hide();
      scene.redraw();
    }],
    ["pointerup", (event: PointerEvent) => {
      fingers.delete(event.pointerId);
      if (fingers.size || moved > CLICK_PX) return;
      const index = scene.pointAt(...at(event), react.accepts);
      if (index >= 0) pointOf(scene.data, index).then((found) => { hide(); react.open(found.id); }, () => undefined);
    }],
    ["pointercancel", (event: PointerEvent) => fingers.delete(event.pointerId)],
    ["pointerleave", hide],
    ["wheel", (event: WheelEvent) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      scene.view.zoomBy(Math.exp(-Math.min(Math.max(pixels, -120), 120) * 0.0022), ...at(event));
      hide();
      scene.redraw();
    }],
    ["dblclick", (event: MouseEvent) => {
      scene.view.zoomBy(2, ...at(event));
      scene.redraw();
    }],
    ["keydown", (event: KeyboardEvent) => {
      const step = 60;
      const pans: Record<string, [number, number]> = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      const pan = pans[event.key];
      if (pan) scene.view.pan(...pan);
      else if (event.key === "+" || event.key === "=") scene.view.zoomBy(1.4);
      else if (event.key === "-") scene.view.zoomBy(1 / 1.4);
      else if (event.key === "0") scene.view.reset();
      else return;
      event.preventDefault();
      scene.redraw();
    }],
  ];
  for (const [name, handler] of handlers) canvas.addEventListener(name, handler as EventListener, { passive: false });
  return () => {
    hide();
    for (const [name, handler] of handlers) canvas.removeEventListener(name, handler as EventListener);
  };
}
