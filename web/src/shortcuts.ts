// Single-key shortcuts. They can be switched off (WCAG 2.1.4), since they get in the way of speech input.

const KEY = "polyvec-shortcuts";

export function shortcutsOn(): boolean {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

export function setShortcuts(on: boolean): void {
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    // Stays on.
  }
}

export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "button", "submit"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

export function focusSearch(): void {
  const box = document.querySelector<HTMLInputElement>("[data-search-box]");
  box?.focus();
  box?.select();
}

// Moves the focus through the hits; from outside the list to its first one. Returns whether there was one to go to.
export function moveThroughHits(step: number): boolean {
  const links = [...document.querySelectorAll<HTMLElement>("[data-hit]")];
  if (!links.length) return false;
  const now = links.indexOf(document.activeElement as HTMLElement);
  if (now === 0 && step < 0) {
    focusSearch();
    return true;
  }
  const next = now < 0 ? 0 : Math.min(Math.max(now + step, 0), links.length - 1);
  links[next]!.focus();
  links[next]!.closest("li")?.scrollIntoView({ block: "nearest" });
  return true;
}
