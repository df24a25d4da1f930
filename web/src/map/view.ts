// From the map's coordinates to the canvas and back; what is seen is a centre and a scale.

export interface Box {
  x: [number, number];
  y: [number, number];
}

export class MapView {
  width = 1;
  height = 1;
  centreX = 0;
  centreY = 0;
  scale = 1; // CSS pixels for one unit of the map
  private fitted = 1;

  constructor(private readonly box: Box) {}

  get zoom(): number {
    return this.scale / this.fitted;
  }

  resize(width: number, height: number): void {
    const zoom = this.width > 1 ? this.zoom : 0;
    [this.width, this.height] = [Math.max(width, 1), Math.max(height, 1)];
    this.fitted = this.fitting(this.box);
    if (zoom) this.scale = this.fitted * zoom;
    else this.show(this.box);
  }

  private fitting({ x, y }: Box): number {
    const margin = Math.min(40, this.width / 8, this.height / 8);
    return Math.min((this.width - 2 * margin) / (x[1] - x[0] || 1), (this.height - 2 * margin) / (y[1] - y[0] || 1));
  }

  show(box: Box): void {
    this.scale = Math.min(this.fitting(box), this.fitted * 400);
    this.centreX = (box.x[0] + box.x[1]) / 2;
    this.centreY = (box.y[0] + box.y[1]) / 2;
  }

  reset(): void {
    this.show(this.box);
  }

  toScreen(x: number, y: number): [number, number] {
    return [this.width / 2 + (x - this.centreX) * this.scale, this.height / 2 - (y - this.centreY) * this.scale];
  }

  toMap(left: number, top: number): [number, number] {
    return [this.centreX + (left - this.width / 2) / this.scale, this.centreY - (top - this.height / 2) / this.scale];
  }

  pan(left: number, top: number): void {
    this.centreX = within(this.centreX - left / this.scale, this.box.x);
    this.centreY = within(this.centreY + top / this.scale, this.box.y);
  }

  // Zooms so that the place under (left, top) stays where it is.
  zoomBy(factor: number, left = this.width / 2, top = this.height / 2): void {
    const [x, y] = this.toMap(left, top);
    this.scale = within(this.scale * factor, [this.fitted * 0.5, this.fitted * 400]);
    const [nowX, nowY] = this.toMap(left, top);
    this.centreX = within(this.centreX + x - nowX, this.box.x);
    this.centreY = within(this.centreY + y - nowY, this.box.y);
  }
}

const within = (value: number, [low, high]: [number, number]): number => Math.min(Math.max(value, low), high);
