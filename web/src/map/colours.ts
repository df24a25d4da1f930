// Colours of the clusters: hues a golden angle apart in OKLCH, so that neighbours in the legend differ and all are equally strong.

import type { Theme } from "../theme";

export type Rgb = [red: number, green: number, blue: number];

const GOLDEN_ANGLE = 137.508;

function oklch(lightness: number, chroma: number, hue: number): Rgb {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map((value) => {
    const clipped = Math.min(Math.max(value, 0), 1);
    return Math.round(255 * (clipped <= 0.0031308 ? 12.92 * clipped : 1.055 * clipped ** (1 / 2.4) - 0.055));
  }) as Rgb;
}

export function clusterColour(place: number, theme: Theme): Rgb {
  const step = place % 3; // every third turn of the hue a shade lighter or darker
  const lightness = theme === "dark" ? [0.74, 0.82, 0.66][step]! : [0.58, 0.66, 0.5][step]!;
  return oklch(lightness, 0.135, 262 + place * GOLDEN_ANGLE);
}

export function noClusterColour(theme: Theme): Rgb {
  return theme === "dark" ? [120, 128, 140] : [150, 155, 163];
}

export const css = ([red, green, blue]: Rgb): string => `rgb(${red} ${green} ${blue})`;
