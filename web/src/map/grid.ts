// Which point is under the pointer: points sorted into square cells once, so that a look-up reads a few cells only.

export class PointGrid {
  private readonly starts: Uint32Array;
  private readonly order: Uint32Array;
  private readonly columns: number;
  private readonly rows: number;
  private readonly cell: number;

  constructor(
    private readonly points: Float32Array, // x, y of each
    private readonly left: number,
    private readonly bottom: number,
    width: number,
    height: number,
  ) {
    const n = points.length / 2;
    const perCell = 4;
    this.cell = Math.max(Math.sqrt((width * height * perCell) / Math.max(n, 1)), Math.max(width, height) / 2048) || 1;
    this.columns = Math.floor(width / this.cell) + 1;
    this.rows = Math.floor(height / this.cell) + 1;
    const counts = new Uint32Array(this.columns * this.rows + 1);
    const cells = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      cells[i] = this.place(points[2 * i]!, points[2 * i + 1]!);
      counts[cells[i]! + 1]!++;
    }
    for (let c = 1; c < counts.length; c++) counts[c]! += counts[c - 1]!;
    this.starts = counts.slice();
    this.order = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.order[counts[cells[i]!]!++] = i;
  }

  private column(x: number): number {
    return Math.min(Math.max(Math.floor((x - this.left) / this.cell), 0), this.columns - 1);
  }

  private row(y: number): number {
    return Math.min(Math.max(Math.floor((y - this.bottom) / this.cell), 0), this.rows - 1);
  }

  private place(x: number, y: number): number {
    return this.row(y) * this.columns + this.column(x);
  }

  // The nearest point within `radius` that `accepts` lets through, or -1.
  nearest(x: number, y: number, radius: number, accepts: (index: number) => boolean = () => true): number {
    let best = -1;
    let limit = radius * radius;
    const [firstColumn, lastColumn] = [this.column(x - radius), this.column(x + radius)];
    for (let row = this.row(y - radius); row <= this.row(y + radius); row++) {
      const from = this.starts[row * this.columns + firstColumn]!;
      const to = this.starts[row * this.columns + lastColumn + 1]!;
      for (let place = from; place < to; place++) {
        const index = this.order[place]!;
        const distance = (this.points[2 * index]! - x) ** 2 + (this.points[2 * index + 1]! - y) ** 2;
        if (distance <= limit && accepts(index)) {
          best = index;
          limit = distance;
        }
      }
    }
    return best;
  }
}
