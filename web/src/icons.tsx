// Line icons on a grid of 24, drawn for this page.

const PATHS = {
  search: "M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13M15.400 15.400 20 20",
  map: "M5 7.500h.01M9 15h.01M12.500 6h.01M15 11.500h.01M18.500 8h.01M7 19h.01M18 17h.01M11 11h.01",
  health: "M3 12.500h4l2-5.500 4 11 2.500-5.500H21",
  prices: "M4 20V4M4 20h16M7.500 16c1-5.500 4-9 12-9.500",
  systems: "M4.500 4.500h6v6h-6zM13.500 4.500h6v6h-6zM4.500 13.500h6v6h-6zM13.500 13.500h6v6h-6z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z",
  keyboard: "M3 6.500h18v11H3zM6.500 10h.01M10 10h.01M13.500 10h.01M17 10h.01M8 14h8",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "M5 12.500 10 17.500 19.500 7",
  alike: "M8.500 5a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7M15.500 12a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7M11.500 11.500l1.200 1.500",
  filter: "M4 6h16M7 12h10M10 18h4",
  back: "M14.500 5 7.500 12l7 7",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  home: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  const dots = name === "map";
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
      stroke-width={dots ? 3.4 : 1.8} stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
