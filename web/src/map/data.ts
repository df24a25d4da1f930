// The map as the page holds it: points, their clusters, and the names of the clusters.

import { getBytes } from "../api";
import type { Cluster, MapInfo } from "../types";
import { PointGrid } from "./grid";
import type { Box } from "./view";

const NO_CLUSTER = 65535;

export interface MapData {
  info: MapInfo;
  places: Float32Array;
  slots: Uint16Array; // place of each point's cluster in `clusters`; clusters.length for none
  clusters: Cluster[]; // largest first
  grid: PointGrid;
  box: Box;
}

export async function loadPoints(info: MapInfo, signal: AbortSignal): Promise<MapData> {
  const bytes = await getBytes("api/map/points", signal);
  const n = Math.floor(bytes.byteLength / 10);
  const places = new Float32Array(bytes, 0, 2 * n); // little-endian, as every platform with a browser today
  const numbers = new Uint16Array(bytes, 8 * n, n);
  const clusters = [...info.clusters].sort((a, b) => b.count - a.count);
  const slotOf = new Map(clusters.map((cluster, slot) => [cluster.number, slot]));
  const slots = new Uint16Array(n);
  for (let i = 0; i < n; i++) slots[i] = numbers[i] === NO_CLUSTER ? clusters.length : (slotOf.get(numbers[i]!) ?? clusters.length);
  const box = boxOf(places, () => true) ?? { x: info.x, y: info.y };
  const grid = new PointGrid(places, box.x[0], box.y[0], box.x[1] - box.x[0], box.y[1] - box.y[0]);
  return { info, places, slots, clusters, grid, box };
}

// The smallest box around the points that `accepts` lets through.
export function boxOf(places: Float32Array, accepts: (index: number) => boolean): Box | null {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < places.length / 2; i++) {
    if (!accepts(i)) continue;
    left = Math.min(left, places[2 * i]!);
    right = Math.max(right, places[2 * i]!);
    bottom = Math.min(bottom, places[2 * i + 1]!);
    top = Math.max(top, places[2 * i + 1]!);
  }
  return left <= right ? { x: [left, right], y: [bottom, top] } : null;
}

// The points of a cluster that lie closest to its centre: those that say best what it is about.
export function mostTypical(data: MapData, slot: number, many: number): number[] {
  const { x, y } = data.clusters[slot]!;
  const found: [distance: number, index: number][] = [];
  for (let i = 0; i < data.slots.length; i++) {
    if (data.slots[i] === slot) found.push([(data.places[2 * i]! - x) ** 2 + (data.places[2 * i + 1]! - y) ** 2, i]);
  }
  return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, many).map(([, index]) => index);
}
