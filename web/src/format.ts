// Numbers and places for people.

export const count = (number: number): string => number.toLocaleString("en-GB");

export const plural = (number: number, one: string, many = `${one}s`): string => `${count(number)} ${number === 1 ? one : many}`;

export function bytes(number: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${number >= 100 || unit === 0 ? Math.round(number * 10) / 10 : Number(number.toPrecision(3))} ${units[unit]}`;
}

export const short = (number: number): string =>
  number !== 0 && (Math.abs(number) < 1e-3 || Math.abs(number) >= 1e6) ? number.toExponential(1) : String(Number(number.toPrecision(3)));

export function seconds(number: number): string {
  if (number < 1) return `${Number((1000 * number).toPrecision(2))} ms`;
  return number < 90 ? `${Number(number.toPrecision(3))} s` : `${Math.round(number / 60)} min`;
}

export function rate(number: number): string {
  return number >= 1000 ? `${Number((number / 1000).toPrecision(3))}k` : String(Number(number.toPrecision(3)));
}

// The folder in front of a long source adds little; its end says which file it is.
export const ending = (text: string, length = 60): string => (text.length <= length ? text : `…${text.slice(1 - length)}`);
