// Help, and the question for the token.

import { useState } from "preact/hooks";
import { session } from "./api";
import { setShortcuts, shortcutsOn } from "./shortcuts";
import { Button, Dialog } from "./ui";

const KEYS: [keys: string[], what: string][] = [
  [["/"], "Go to the search box"],
  [["↓", "↑"], "Through the hits; also j and k"],
  [["Enter"], "Open the document"],
  [["Esc"], "Close it again"],
  [["←", "→"], "Move the budget in the price list"],
  [["+", "−"], "Zoom the map while it has the focus; arrows move it, 0 shows all"],
  [["?"], "This help"],
];

export function HelpDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  const [on, setOn] = useState(shortcutsOn);
  return (
    <Dialog open={open} onClose={onClose} label="Keyboard shortcuts" class="small">
      <div class="dialog-head">
        <h2>Keyboard</h2>
        <Button kind="bare" icon="close" label="Close" onClick={onClose} />
      </div>
      <dl class="keys">
        {KEYS.map(([keys, what]) => (
          <div key={what}>
            <dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <label class="check">
        <input type="checkbox" checked={on} onChange={(event) => { setOn(event.currentTarget.checked); setShortcuts(event.currentTarget.checked); }} />
        <span>Shortcuts of a single letter or sign (/ j k ?)</span>
      </label>
    </Dialog>
  );
}

export function TokenDialog({ open }: { open: boolean }) {
  const [value, setValue] = useState("");
  return (
    <Dialog open={open} onClose={() => undefined} label="Token" class="small">
      <form class="token" onSubmit={(event) => { event.preventDefault(); session.setToken(value); setValue(""); }}>
        <h2>This index asks for a token</h2>
        <p>{session.hadToken() ? "The server did not accept that token." : "It is the one that was given to polyvec serve with --token."}</p>
        <label class="field">
          <span>Token</span>
          <input type="password" autocomplete="current-password" required value={value} onInput={(event) => setValue(event.currentTarget.value)} />
        </label>
        <button type="submit" class="button main">Open the index</button>
        <p class="muted">It is kept until this browser tab is closed.</p>
      </form>
    </Dialog>
  );
}
