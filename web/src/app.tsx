// The frame around all views: navigation, theme, shortcuts, the open document, the token.

import { useEffect, useState } from "preact/hooks";
import { get, session } from "./api";
import { DocumentDialog } from "./document";
import { HelpDialog, TokenDialog } from "./dialogs";
import { HealthPage } from "./health/page";
import { Icon, type IconName } from "./icons";
import { MapPage } from "./map/page";
import { PricesPage } from "./prices/page";
import { useRemote, useSession } from "./remote";
import { formatRoute, navigate, useRoute, type Route, type Tab } from "./route";
import { SearchPage } from "./search/page";
import { focusSearch, isTyping, moveThroughHits, shortcutsOn } from "./shortcuts";
import { SystemsPage } from "./systems/page";
import { toggleTheme, useTheme } from "./theme";
import type { Info } from "./types";
import { Button, Problem, Waiting } from "./ui";

const NAMES: Record<Tab, { name: string; icon: IconName }> = {
  search: { name: "Search", icon: "search" },
  map: { name: "Map", icon: "map" },
  health: { name: "Health", icon: "health" },
  prices: { name: "Price list", icon: "prices" },
  systems: { name: "Systems", icon: "systems" },
};

function useShortcuts(openHelp: () => void) {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
      const inBox = event.target instanceof HTMLElement && event.target.hasAttribute("data-search-box");
      const arrows = inBox || (event.target instanceof HTMLElement && event.target.hasAttribute("data-hit")) || event.target === document.body;
      if (arrows && (event.key === "ArrowDown" || (event.key === "ArrowUp" && !inBox))) {
        if (moveThroughHits(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
        return;
      }
      if (isTyping(event.target) || !shortcutsOn()) return;
      if (event.key === "j" || event.key === "k") moveThroughHits(event.key === "j" ? 1 : -1);
      else if (event.key === "/") focusSearch();
      else if (event.key === "?") openHelp();
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [openHelp]);
}

function Navigation({ route }: { route: Route }) {
  return (
    <nav class="tabs" aria-label="Views">
      {(Object.keys(NAMES) as Tab[]).map((tab) => (
        <a key={tab} href={formatRoute({ ...route, tab, slug: "", doc: "" })} aria-current={tab === route.tab ? "page" : undefined}>
          <Icon name={NAMES[tab].icon} size={18} />
          <span>{NAMES[tab].name}</span>
        </a>
      ))}
    </nav>
  );
}

function View({ route, info }: { route: Route; info: Info }) {
  switch (route.tab) {
    case "search": return <SearchPage route={route} info={info} />;
    case "map": return <MapPage route={route} info={info} />;
    case "health": return <HealthPage info={info} />;
    case "prices": return <PricesPage route={route} info={info} />;
    case "systems": return <SystemsPage route={route} />;
  }
}

export function App() {
  const route = useRoute();
  const theme = useTheme();
  useSession();
  const [help, setHelp] = useState(false);
  const [openHelp] = useState(() => () => setHelp(true));
  useShortcuts(openHelp);
  const info = useRemote("info", (signal) => get<Info>("api/info", {}, signal));

  useEffect(() => {
    const subject = route.tab === "search" && route.q ? `${route.q} · ` : `${NAMES[route.tab].name} · `;
    document.title = `${subject}${info.data?.name ?? "index"} · polyvec`;
  }, [route.tab, route.q, info.data?.name]);

  return (
    <>
      <a class="skip" href="#content" onClick={(event) => { event.preventDefault(); document.getElementById("content")?.focus(); }}>Skip to the content</a>
      <header class="top">
        <a class="brand" href="#/search">
          <img src="./assets/icon.svg" alt="" width="26" height="26" />
          <span class="brand-name">polyvec</span>{" "}
          {info.data && <span class="brand-index">{info.data.name}</span>}
        </a>
        <Navigation route={route} />
        <div class="tools">
          <Button kind="bare" icon="keyboard" label="Keyboard shortcuts" onClick={openHelp} />
          <Button kind="bare" icon={theme === "dark" ? "sun" : "moon"} label={`Switch to the ${theme === "dark" ? "light" : "dark"} theme`} onClick={toggleTheme} />
        </div>
      </header>
      <main id="content" tabIndex={-1} class={`view-${route.tab}`}>
        {info.problem && info.data && info.problem.code === "offline" && <p class="banner" role="status">{info.problem.message}</p>}
        {info.data ? <View route={route} info={info.data} />
          : info.problem ? (info.problem.code === "unauthorized" ? null : <Problem problem={info.problem} retry={info.reload} />)
          : <Waiting what="Opening the index…" />}
      </main>
      <DocumentDialog id={route.doc} onClose={() => navigate({ doc: "" }, { replace: true })} />
      <HelpDialog open={help} onClose={() => setHelp(false)} />
      <TokenDialog open={session.refused} />
    </>
  );
}
