// The search box with its switch: what the tabs "Search" and "Map" ask the index.

import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../icons";
import { navigate, type Route } from "../route";
import type { Info, Mode } from "../types";
import { Segments } from "../ui";

const TYPING_MS = 300;

const MODES: Record<Mode, { label: string; about: string }> = {
  hybrid: { label: "Hybrid", about: "By meaning and by words" },
  dense: { label: "Dense", about: "By meaning" },
  keyword: { label: "Keyword", about: "By words" },
};

export function modeOf(route: Route, info: Info): Mode {
  const known = info.modes.find((mode) => mode === route.mode);
  return known ?? (info.modes.includes("hybrid") ? "hybrid" : (info.modes[0] ?? "keyword"));
}

export function SearchBox({ route, info, placeholder }: { route: Route; info: Info; placeholder: string }) {
  const [text, setText] = useState(route.q);
  const timer = useRef(0);
  const typed = useRef(route.q);
  useEffect(() => {
    if (route.q !== typed.current) { // the address changed by a link or the back button
      typed.current = route.q;
      setText(route.q);
    }
  }, [route.q]);
  useEffect(() => () => clearTimeout(timer.current), []);

  const ask = (value: string, replace: boolean) => {
    clearTimeout(timer.current);
    typed.current = value.trim();
    navigate({ q: value.trim(), like: "", cluster: "" }, { replace });
  };
  const onInput = (value: string) => {
    setText(value);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => ask(value, true), TYPING_MS);
  };

  return (
    <form class="search-box" role="search" onSubmit={(event) => { event.preventDefault(); ask(text, false); }}>
      <div class="search-line">
        <Icon name="search" />
        <input
          data-search-box type="search" aria-label="Search" placeholder={placeholder} value={text} maxLength={2000}
          autocomplete="off" autocapitalize="off" spellcheck={false} enterkeyhint="search" aria-keyshortcuts="/"
          onInput={(event) => onInput(event.currentTarget.value)}
        />
        <kbd class="hint" aria-hidden="true">/</kbd>
      </div>
      {info.modes.length > 1 && (
        <Segments
          label="Kind of search" value={modeOf(route, info)} onChange={(mode) => navigate({ mode })}
          options={(["hybrid", "dense", "keyword"] as const).filter((mode) => info.modes.includes(mode)).map((mode) => ({ value: mode, ...MODES[mode] }))}
        />
      )}
    </form>
  );
}
