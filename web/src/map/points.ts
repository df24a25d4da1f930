// Draws the points with WebGL2. Libraries for this either compile code from text, which the page's policy forbids, or weigh
// more than the whole page; discs on a plane need two small shaders.

import type { Rgb } from "./colours";
import type { MapView } from "./view";

export const enum Look { plain, faded, lit, chosen }

const VERTEX = `#version 300 es
in vec2 place;
in uint slot;
in uint look;
uniform vec2 scale, shift;
uniform float size;
uniform bool litOnly;
uniform sampler2D palette;
out vec4 colour;
flat out uint shape;
void main() {
  bool lit = look >= 2u;
  gl_Position = lit == litOnly ? vec4(place * scale + shift, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = look == 3u ? size * 1.6 + 8.0 : lit ? size * 1.35 + 4.0 : size;
  colour = vec4(texelFetch(palette, ivec2(int(slot), 0), 0).rgb, look == 1u ? 0.13 : lit ? 1.0 : 0.78);
  shape = look;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 colour;
flat in uint shape;
uniform vec3 outline;
uniform float size;
out vec4 seen;
void main() {
  float radius = length(gl_PointCoord - 0.5) * 2.0;
  float full = shape == 3u ? size * 1.6 + 8.0 : shape == 2u ? size * 1.35 + 4.0 : size;
  float soft = 2.0 / full;
  float inside = 1.0 - smoothstep(1.0 - soft, 1.0, radius);
  float ring = shape >= 2u ? smoothstep(1.0 - 2.0 * soft - 2.0 / full, 1.0 - soft - 2.0 / full, radius) : 0.0;
  float alpha = colour.a * inside;
  seen = vec4(mix(colour.rgb, outline, ring) * alpha, alpha);
}`;

function compiled(gl: WebGL2RenderingContext, kind: number, text: string): WebGLShader {
  const shader = gl.createShader(kind)!;
  gl.shaderSource(shader, text);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader) ?? "shader");
  return shader;
}

// The numbers below n in an order that is random and the same every time.
function shuffled(n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, index) => index);
  let state = 1;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

export class PointPainter {
  private readonly gl: WebGL2RenderingContext;
  private readonly uniforms: Record<string, WebGLUniformLocation | null> = {};
  private readonly lookBuffer: WebGLBuffer;
  private readonly litBuffer: WebGLBuffer;
  private readonly allBuffer: WebGLBuffer;
  private litCount = 0;
  private outline: Rgb = [0, 0, 0];

  // Throws where the browser has no WebGL2. `slots` says for each point which colour of the palette it takes.
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly places: Float32Array,
    slots: Uint16Array,
  ) {
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, depth: false, premultipliedAlpha: true });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    const program = gl.createProgram();
    gl.attachShader(program, compiled(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, compiled(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program) ?? "program");
    gl.useProgram(program);
    for (const name of ["scale", "shift", "size", "litOnly", "palette", "outline"]) this.uniforms[name] = gl.getUniformLocation(program, name);

    const attribute = (name: string, data: ArrayBufferView, type: number, size: number): WebGLBuffer => {
      const buffer = gl.createBuffer();
      const location = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(location);
      if (type === gl.FLOAT) gl.vertexAttribPointer(location, size, type, false, 0, 0);
      else gl.vertexAttribIPointer(location, size, type, 0, 0);
      return buffer;
    };
    attribute("place", places, gl.FLOAT, 2);
    attribute("slot", slots, gl.UNSIGNED_SHORT, 1);
    this.lookBuffer = attribute("look", new Uint8Array(places.length / 2), gl.UNSIGNED_BYTE, 1);
    this.litBuffer = gl.createBuffer();
    this.allBuffer = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.allBuffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, shuffled(places.length / 2), gl.STATIC_DRAW);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
  }

  setColours(palette: Rgb[], outline: Rgb): void {
    const { gl } = this;
    const data = new Uint8Array(4 * palette.length);
    palette.forEach((colour, place) => data.set([...colour, 255], 4 * place));
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, palette.length, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, data);
    this.outline = outline;
  }

  // Lit and chosen points are drawn last, over all others, in the order of their index.
  setLooks(looks: Uint8Array): void {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lookBuffer);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, looks);
    const lit: number[] = [];
    const chosen: number[] = [];
    looks.forEach((look, index) => {
      if (look >= Look.lit) (look === Look.lit ? lit : chosen).push(index);
    });
    const order = new Uint32Array([...lit, ...chosen]);
    this.litCount = order.length;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.litBuffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
  }

  // Diameter of a plain point in CSS pixels: the fewer points and the closer the look, the larger.
  sizeAt(zoom: number): number {
    const n = Math.max(this.places.length / 2, 1);
    return Math.min(Math.max(Math.min(Math.max(26 / n ** 0.21, 2.2), 9) * zoom ** 0.3, 2), 16);
  }

  // `most` points at most: a random part of them, always the same, looks like the whole while the map moves.
  draw(view: MapView, ratio: number, most = Infinity): void {
    const { gl, canvas, uniforms } = this;
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const [scaleX, scaleY] = [(2 * view.scale) / view.width, (2 * view.scale) / view.height];
    gl.uniform2f(uniforms.scale!, scaleX, scaleY);
    gl.uniform2f(uniforms.shift!, -view.centreX * scaleX, -view.centreY * scaleY);
    gl.uniform1f(uniforms.size!, this.sizeAt(view.zoom) * ratio);
    gl.uniform3f(uniforms.outline!, this.outline[0] / 255, this.outline[1] / 255, this.outline[2] / 255);
    gl.uniform1i(uniforms.litOnly!, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.allBuffer);
    gl.drawElements(gl.POINTS, Math.min(this.places.length / 2, most), gl.UNSIGNED_INT, 0);
    if (this.litCount) {
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.litBuffer);
      gl.uniform1i(uniforms.litOnly!, 1);
      gl.drawElements(gl.POINTS, this.litCount, gl.UNSIGNED_INT, 0);
    }
  }

  dispose(): void {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
